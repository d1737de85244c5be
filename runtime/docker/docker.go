// Package docker runs container images in a Docker engine: it is the executor of the docker
// plugin, the program liftoff-executor-docker. Nothing else links it.
//
// A guest reads its inputs below /in, which is read-only, and leaves its output in /out; /tmp
// is its scratch space. It is not root, has no capabilities and can gain none, sees a read-only
// root file system, and no network unless the node's owner allows one. One rule: nothing of a
// run outlives it. Each container has a label with its owner, and the containers that a dead
// plugin left behind are removed before the next one answers.
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

// Config configures an Engine. Its zero fields are the defaults.
type Config struct {
	Owner     string  // owner of the containers, stored as a label; see wire.EnvOwner
	CPUs      float64 // processors of a container; default 1
	Pids      int64   // processes and threads of a container; default 512
	Network   string  // the Docker network of guests that may use the network; default "bridge"
	NoPull    bool    // images come from the engine or from blocks, never from a registry
	MaxImage  int64   // unpacked bytes of an image that is loaded from blocks; default 16 GiB
	MaxImages int     // how many of them the engine keeps for later runs; default 32
	Log       *slog.Logger
	Client    *client.Client // nil: a client of DOCKER_HOST and related variables
}

// Engine runs images. It implements wire.Engine and wire.Resolver.
type Engine struct {
	cfg    Config
	docker *client.Client
	user   string

	reaping sync.Mutex // held while leftover containers are listed
	version string     // of the engine; empty: not connected yet

	mu   sync.Mutex
	live map[string]bool // by Run.ID: runs whose containers are in use
	left bool            // a container could not be removed: the engine was unreachable

	images   images
	removals sync.WaitGroup // removals of ended containers
}

var (
	_ wire.Engine   = (*Engine)(nil)
	_ wire.Resolver = (*Engine)(nil)
)

// New returns an Engine. It connects to Docker at the first call that needs it.
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
			return nil, fmt.Errorf("create client of the Docker engine: %w", err)
		}
		cfg.Client = c
	}
	return &Engine{cfg: cfg, docker: cfg.Client, user: guestUser(os.Geteuid(), os.Getegid()), live: map[string]bool{}}, nil
}

// unprivileged is the uid and gid of guests if this process is root.
const unprivileged = 65534

// guestUser returns the user of guests: the user of this process, so that it can read and
// remove what they leave, but never root.
func guestUser(uid, gid int) string {
	if uid == 0 {
		uid = unprivileged
	}
	if gid == 0 {
		gid = unprivileged
	}
	return fmt.Sprintf("%d:%d", uid, gid)
}

// Close waits, for a limited time, until the ended containers are removed.
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

// ready connects to the engine. The first time, and after a container could not be removed, it
// removes the leftover containers.
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

// hasLeft reports whether a container could not be removed. With forget it clears that state.
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

// enter marks the run's containers as in use, so that reap keeps them. The caller has to call
// leave at the end of the run.
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
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second) // a node waits 10 s
	defer cancel()
	version, err := e.ready(ctx)
	if err != nil {
		t.Problem = err.Error()
		return t
	}
	t.Version += " " + version
	return t
}

// Check implements wire.Engine. It accepts an image that the engine does not have, since it may
// still be pulled: a missing image fails the run.
func (e *Engine) Check(ctx context.Context, t wire.Task) (needModule bool, err error) {
	if t.ABI != job.ABIDocker {
		return false, wire.Refusef("docker: got abi %q, want docker", t.ABI)
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
