package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// Run implements wire.Engine.
func (e *Engine) Run(ctx context.Context, r wire.Run, s *wire.Stream) (wire.End, error) {
	begin := time.Now()
	defer e.enter(r.ID)()
	name, im, err := e.image(ctx, r)
	if err != nil {
		return wire.End{}, err
	}
	if err := e.own(r.Dir); err != nil {
		return wire.End{}, err
	}
	options, err := e.create(r, im)
	if err != nil {
		return wire.End{}, err
	}
	created, err := e.docker.ContainerCreate(ctx, options)
	if isNotFound(err) { // the image was removed after the lookup
		e.images.forget(name)
	}
	if err != nil {
		return wire.End{}, refusal(fmt.Errorf("create container: %w", err))
	}
	end, err := e.attend(ctx, created.ID, r, s, begin)
	if err != nil || ctx.Err() != nil {
		e.removeNow(created.ID) // it may be running
		return end, err
	}
	e.removeSoon(created.ID)
	return end, nil
}

// image finds the run's image, or loads it.
func (e *Engine) image(ctx context.Context, r wire.Run) (name string, im image, err error) {
	if len(r.Task.Module.Block) == 0 {
		name, im, err = e.archive(ctx, r)
	} else {
		ref, rerr := reference(r.Task.Module.Block)
		if rerr != nil {
			return "", image{}, rerr
		}
		name, im, err = e.find(ctx, ref)
	}
	return name, im, err
}

// own makes the guest's user the owner of the folders that the guest writes to.
func (e *Engine) own(dir string) error {
	if os.Geteuid() != 0 {
		return nil // the guest runs as this process's user
	}
	uid, gid, _ := strings.Cut(e.user, ":")
	u, uerr := strconv.Atoi(uid)
	g, gerr := strconv.Atoi(gid)
	if err := errors.Join(uerr, gerr); err != nil {
		return err
	}
	for _, name := range []string{"out", "tmp"} {
		if err := os.Chown(filepath.Join(dir, name), u, g); err != nil {
			return err
		}
	}
	return nil
}

// refusal turns engine errors that the Task causes into refusals: a program that is not in the
// image, for example.
func refusal(err error) error {
	for _, says := range []string{
		"executable file not found", "no such file or directory: unknown", "permission denied: unknown",
		"No command specified", "no command specified", "exec format error",
	} {
		if strings.Contains(err.Error(), says) {
			return wire.Refusef("%v", err)
		}
	}
	return err
}

// attend starts a container and follows it until its end.
func (e *Engine) attend(ctx context.Context, id string, r wire.Run, s *wire.Stream, begin time.Time) (wire.End, error) {
	streams, err := e.docker.ContainerAttach(ctx, id, client.ContainerAttachOptions{
		Stream: true, Stdin: r.Task.Stdin, Stdout: true, Stderr: true,
	})
	if err != nil {
		return wire.End{}, fmt.Errorf("attach to container: %w", err)
	}
	defer streams.Close()
	unblock := context.AfterFunc(ctx, streams.Close)
	defer unblock()
	waiting, stopWaiting := context.WithCancel(ctx)
	defer stopWaiting()
	exit := e.docker.ContainerWait(waiting, id, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := e.docker.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return wire.End{}, refusal(fmt.Errorf("start container: %w", err))
	}
	end := wire.End{Prepare: time.Since(begin).Milliseconds()}

	var helpers sync.WaitGroup
	defer helpers.Wait()
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	u := usage{limit: r.Limits.Fuel}
	helpers.Go(func() { e.watch(watching, id, &u) })
	if r.Task.Stdin {
		helpers.Go(func() { feed(filepath.Join(r.Dir, "stdin"), streams.HijackedResponse) })
		defer streams.Close() // ends feed
	}
	if _, err := stdcopy.StdCopy(s.Stdout(), s.Stderr(), streams.Reader); err != nil {
		return end, fmt.Errorf("read the guest's output: %w", err)
	}
	select {
	case res := <-exit.Result:
		if res.Error != nil {
			return end, fmt.Errorf("wait for container: %s", cmp.Or(res.Error.Message, "the Docker engine gave no reason"))
		}
		end.Exit = int(res.StatusCode & 0xff)
	case err := <-exit.Error:
		return end, fmt.Errorf("wait for container: %w", err)
	}
	unwatch()
	return e.ended(ctx, id, end, &u)
}

// ended reads how an ended container ended.
func (e *Engine) ended(ctx context.Context, id string, end wire.End, u *usage) (wire.End, error) {
	state, err := e.docker.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return end, fmt.Errorf("inspect container: %w", err)
	}
	var over bool
	end.Fuel, end.Memory, over = u.get()
	switch s := state.Container.State; {
	case s == nil || s.Running:
		return end, errors.New("container still runs although the Docker engine reported its end")
	case s.Error != "":
		return end, refusal(fmt.Errorf("docker engine: %s", s.Error))
	case over:
		end.Limit = wire.LimitFuel
	case s.OOMKilled && end.Exit != 0:
		end.Limit = wire.LimitMemory
	}
	return end, nil
}

// feed writes the guest's stdin. A guest need not read all of it.
func feed(file string, streams client.HijackedResponse) {
	f, err := os.Open(file)
	if err == nil {
		_, _ = io.Copy(streams.Conn, f)
		f.Close()
	}
	_ = streams.CloseWrite()
}

// usage is what a container has used so far, as the engine samples it about once a second.
type usage struct {
	limit uint64 // nanoseconds of processor time

	mu     sync.Mutex
	fuel   uint64
	memory uint64 // highest sample
	over   bool
}

func (u *usage) get() (fuel, memory uint64, over bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fuel, u.memory, u.over
}

// add adds a sample and reports whether the limit is reached.
func (u *usage) add(s container.StatsResponse) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fuel = max(u.fuel, s.CPUStats.CPUUsage.TotalUsage)
	u.memory = max(u.memory, s.MemoryStats.Usage, s.MemoryStats.MaxUsage)
	u.over = u.over || u.fuel >= u.limit
	return u.over
}

// watchAfter delays the sampling of a container: most have ended by then.
const watchAfter = 300 * time.Millisecond

// watch kills the container when it has used up its processor time.
func (e *Engine) watch(ctx context.Context, id string, u *usage) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(watchAfter):
	}
	stats, err := e.docker.ContainerStats(ctx, id, client.ContainerStatsOptions{Stream: true})
	if err != nil {
		if ctx.Err() == nil {
			e.cfg.Log.Warn("read container stats", "container", id, "err", err)
		}
		return
	}
	defer stats.Body.Close()
	for samples := json.NewDecoder(stats.Body); ; {
		var s container.StatsResponse
		if err := samples.Decode(&s); err != nil {
			return // it has ended
		}
		if u.add(s) {
			_, _ = e.docker.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "SIGKILL"}) // an error means that it has ended
			return
		}
	}
}
