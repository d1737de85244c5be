// Package docker runs images in a Docker engine: the executor of the plugin docker, which
// is the program liftoff-executor-docker. Nothing else links it.
//
// A guest finds its inputs below /in, read-only, and leaves its output in /out; /tmp is its
// own. It is not root, has no capabilities and can gain none, sees a root file system that
// it cannot write to, and no network unless the run's owner gives it one. One rule: nothing
// of a run outlives it. A container has a label of who has started it, and what a dead
// plugin has left is removed before the next one answers.
package docker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// Config bounds an Engine. Its zero fields are the defaults.
type Config struct {
	Owner     string  // who starts containers, for the label; see wire.EnvOwner
	CPUs      float64 // processors that a container has; 1
	Pids      int64   // processes and threads of a container; 512
	Network   string  // the Docker network of guests that are given one; "bridge"
	NoPull    bool    // images come from the engine or as blocks, and not from a registry
	MaxImage  int64   // bytes of an unpacked image that comes as blocks; 16 GiB
	MaxImages int     // of those that the engine keeps for later runs; 32
	Log       *slog.Logger
	Client    *client.Client // nil: the one that DOCKER_HOST and its like name
}

// Engine runs images. It meets wire.Engine and wire.Resolver.
type Engine struct {
	cfg    Config
	docker *client.Client
	user   string

	reaping sync.Mutex // held while the engine is asked what is left
	version string     // of the engine; empty: it has not been reached yet

	mu   sync.Mutex
	live map[string]bool // by Run.ID: the containers that are no leftovers
	left bool            // a container could not be removed: the engine was away

	images   images
	removals sync.WaitGroup // of containers that have ended
}

var (
	_ wire.Engine   = (*Engine)(nil)
	_ wire.Resolver = (*Engine)(nil)
)

// New makes an Engine. It reaches for Docker at the first call that needs it.
func New(cfg Config) (*Engine, error) {
	if cfg.CPUs == 0 {
		cfg.CPUs = 1
	}
	if cfg.Pids == 0 {
		cfg.Pids = 512
	}
	if cfg.Network == "" {
		cfg.Network = "bridge"
	}
	if cfg.MaxImage == 0 {
		cfg.MaxImage = 16 << 30
	}
	if cfg.MaxImages == 0 {
		cfg.MaxImages = 32
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Client == nil {
		c, err := client.New(client.FromEnv)
		if err != nil {
			return nil, fmt.Errorf("reach the Docker engine: %w", err)
		}
		cfg.Client = c
	}
	return &Engine{cfg: cfg, docker: cfg.Client, user: guestUser(os.Geteuid(), os.Getegid()), live: map[string]bool{}}, nil
}

// nobody is whom guests are where this process is root.
const nobody = 65534

// guestUser is whom guests are: the user of this process, so that it can read what they
// leave and remove it, but never root.
func guestUser(uid, gid int) string {
	if uid == 0 {
		uid = nobody
	}
	if gid == 0 {
		gid = nobody
	}
	return fmt.Sprintf("%d:%d", uid, gid)
}

// Close waits, for a while, until the containers that have ended are removed.
func (e *Engine) Close() error {
	done := make(chan struct{})
	go func() {
		e.removals.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(removeTime):
	}
	return e.docker.Close()
}

// ready reaches the engine. The first time, and after a container could not be removed, it
// removes what is left there.
func (e *Engine) ready(ctx context.Context) (version string, err error) {
	e.reaping.Lock()
	defer e.reaping.Unlock()
	if e.version != "" && !e.hasLeft(false) {
		return e.version, nil
	}
	v, err := e.docker.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", fmt.Errorf("the Docker engine does not answer: %w", err)
	}
	e.hasLeft(true)
	if err := e.reap(ctx); err != nil {
		e.setLeft()
		return "", err
	}
	e.version = v.Version
	return e.version, nil
}

// hasLeft reports whether a container could not be removed, and may forget it.
func (e *Engine) hasLeft(forget bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := e.left
	e.left = left && !forget
	return left
}

func (e *Engine) setLeft() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = true
}

// enter says that the containers of a run are none of those that are left; the function that
// it returns is the other half.
func (e *Engine) enter(run string) (leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.live[run] = true
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.live, run)
	}
}

// Traits implements wire.Engine.
func (e *Engine) Traits(ctx context.Context) wire.Traits {
	t := wire.Traits{Protocol: wire.Version, Engine: "docker", Version: "docker", ABIs: []string{job.ABIDocker}}
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second) // a node waits 10
	defer cancel()
	version, err := e.ready(ctx)
	if err != nil {
		t.Problem = err.Error()
		return t
	}
	t.Version += " " + version
	return t
}

// Check implements wire.Engine. An image that is not here may still be pulled: that shows
// in the run.
func (e *Engine) Check(ctx context.Context, t wire.Task) (needModule bool, err error) {
	if t.ABI != job.ABIDocker {
		return false, wire.Refusef("abi %q", t.ABI)
	}
	if _, err := e.ready(ctx); err != nil {
		return false, err
	}
	if len(t.Module.Block) > 0 {
		_, err := reference(t.Module.Block)
		return false, err
	}
	_, err = e.inspect(ctx, archiveTag(t.Module.CID))
	if isNotFound(err) {
		return true, nil
	}
	return false, err
}
