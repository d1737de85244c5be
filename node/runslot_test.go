package node_test

import (
	"context"
	"io"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Runs whose output is not being read release their slots to others.
func TestStalledRunsReleaseTheirSlots(t *testing.T) {
	s := join(t, t.TempDir())
	mod := put(t, s, "module")
	release := make(chan struct{})
	var stalled, wg sync.WaitGroup
	for range goruntime.GOMAXPROCS(0) {
		stalled.Add(1)
		var once sync.Once
		wg.Go(func() {
			_, err := s.Jobs.Run(t.Context(), api.Request{Task: task(mod, "hello")}, api.Watch{
				Stdout: writerFunc(func(b []byte) (int, error) {
					once.Do(stalled.Done)
					<-release
					return len(b), nil
				}),
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	stalled.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.Jobs.Run(ctx, api.Request{Task: task(mod, "hello")}, api.Watch{Stdout: io.Discard}); err != nil {
		t.Errorf("run while other runs are stalled: %v", err)
	}
	close(release)
	wg.Wait()
}

// At most as many guests as processors execute at once.
func TestSlots(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	x := script{"count": func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		return result(ctx, t, env, "")
	}}
	s, err := node.Join(t.Context(), node.Config{Dir: t.TempDir(), Executors: runtime.Executors{x}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mod := put(t, s, "module")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := s.Jobs.Run(t.Context(), api.Request{Task: task(mod, "count")}, api.Watch{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most > goruntime.GOMAXPROCS(0) || most == 0 {
		t.Errorf("%d guests at once", most)
	}
}

// An owner whose guests use all processors still serves other processes.
func TestOwnerUnderLoad(t *testing.T) {
	dir := t.TempDir()
	a := start(t, "spin", dir)
	a.want(t, "joined true")
	busy := func() bool {
		scratch, _ := filepath.Glob(filepath.Join(dir, "scratch", "*"))
		return len(scratch) == goruntime.NumCPU()
	}
	eventually(t, "the guests run", busy)
	time.Sleep(300 * time.Millisecond) // time to compile the guests and start looping
	for range 5 {
		s, err := node.Join(t.Context(), node.Config{Dir: dir, Wait: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if s.Owner {
			t.Fatal("the guests have ended")
		}
		// With the usual pace of Go's garbage collector these blocks would be enough to stop everything.
		big := strings.Repeat("x", 1<<20)
		stuck := time.AfterFunc(30*time.Second, func() { a.Process.Kill() }) // then the calls fail
		if b, err := s.Blocks.Get(t.Context(), put(t, s, big)); err != nil || string(b.Data()) != big {
			t.Errorf("%d bytes, %v", len(b.Data()), err)
		}
		stuck.Stop()
		s.Close()
	}
}
