package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin"
)

// number reads the size of a test from the environment; the full tests use larger ones.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// attempts bounds how often a job is submitted again after a machine fault.
const attempts = 60

// TestKills runs jobs through a node while the plugin and the engine are killed and the node is
// reopened. A job that ends with a machine fault is submitted again, as a requester does. Every
// job gets an Outcome, and at the end no container, no run folder and no process is left.
func TestKills(t *testing.T) {
	e := ownEngine(t)
	t.Setenv("DOCKER_HOST", e.Host)
	n := &mortal{t: t, dir: t.TempDir(), plugins: filepath.Dir(program(t))}
	n.open()
	defer n.close()
	image := n.add(archive(t))

	jobs, kills := number(t, "LIFTOFF_DOCKER_JOBS", 10), number(t, "LIFTOFF_KILLS", 3)
	var done, failed atomic.Int64
	todo := make(chan int)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for i := range todo {
				task := dockerTask(image, "words", strconv.Itoa(i))
				task.Nonce = []byte(strconv.Itoa(i))
				for range attempts {
					j, err := n.run(task)
					if err == nil && j.Outcome.State == job.OK {
						done.Add(1)
						break
					}
					var e *api.Error
					if err == nil || errors.As(err, &e) && (e.Code == api.CodeRefused || e.Code == api.CodeUsage) {
						t.Errorf("job %d: %+v, %v", i, j.Outcome, err)
						break
					}
					failed.Add(1)
					time.Sleep(200 * time.Millisecond)
				}
			}
		})
	}
	for i := range jobs {
		if every := max(1, jobs/kills); i%every == every/2 {
			switch i / every % 3 {
			case 0:
				n.killPlugin()
			case 1:
				e.Kill()
				if err := e.Restart(""); err != nil {
					t.Fatal(err)
				}
			case 2:
				n.reopen()
			}
		}
		todo <- i
		time.Sleep(rand.N(50 * time.Millisecond))
	}
	close(todo)
	workers.Wait()
	if done.Load() != int64(jobs) {
		t.Errorf("%d of %d jobs have an Outcome", done.Load(), jobs)
	}
	t.Logf("%d jobs; %d attempts ended with a machine fault", jobs, failed.Load())
	n.reopen()
	if _, err := n.node.Plugins(t.Context()); err != nil { // starts the plugin
		t.Error(err)
	}
	if got := dockerCLI(t, e, "ps", "-aq"); got != "" {
		t.Errorf("containers left: %s", got)
	}
	n.close()
	if runs, _ := filepath.Glob(filepath.Join(n.dir, "*", "run-*")); len(runs) > 0 {
		t.Errorf("run folders left: %v", runs)
	}
}

// mortal is a node that is reopened between runs, as after its process was killed.
type mortal struct {
	t            testing.TB
	dir, plugins string

	mu   sync.RWMutex
	node *node.Node
}

func (m *mortal) open() {
	n, err := node.Open(node.Config{Dir: m.dir, Plugins: []string{m.plugins}})
	if err != nil {
		m.t.Fatal(err)
	}
	m.node = n
}

func (m *mortal) reopen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node.Close()
	m.open()
}

func (m *mortal) close() { m.node.Close() }

func (m *mortal) run(t job.Task) (api.Job, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.node.Run(m.t.Context(), api.Request{Task: t, Timeout: time.Minute}, api.Watch{})
}

// killPlugin kills the plugin's process, which is a child of this one.
func (m *mortal) killPlugin() {
	for _, pid := range children(m.t) {
		exe, err := os.Readlink("/proc/" + pid + "/exe")
		if err == nil && filepath.Base(exe) == plugin.Prefix+"docker" {
			n, _ := strconv.Atoi(pid)
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
}

// children lists the child processes of this process.
func children(t testing.TB) []string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range tasks {
		b, err := os.ReadFile(file)
		if err == nil {
			all = append(all, strings.Fields(string(b))...)
		}
	}
	return all
}

// add stores b as a file in the node's blocks.
func (m *mortal) add(b []byte) cid.Cid {
	var blocks dag.MemBlocks
	e, err := dag.AddFile(m.t.Context(), &blocks, bytes.NewReader(b), dag.UnixFSv1)
	if err != nil {
		m.t.Fatal(err)
	}
	err = dag.Walk(m.t.Context(), &blocks, []cid.Cid{e.CID}, dag.WalkOptions{}, func(v dag.Visited) error {
		b, err := blocks.Get(m.t.Context(), v.CID)
		if err != nil {
			return err
		}
		return m.node.Put(m.t.Context(), api.Block{CID: b.CID(), Data: b.Data()})
	})
	if err == nil {
		err = m.node.Pin(m.t.Context(), api.Pin{Name: "image", Roots: []api.Root{{CID: e.CID, Recursive: true}}})
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return e.CID
}
