package node_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// member is one node of a fleet: real hosts on the loopback interface, in this process.
type member struct {
	*serving
	dir string
	cfg node.Config
	did string
}

// quick is a market with frequent heartbeats and quick retries. Other timeouts are the real ones: a busy machine
// must not make a peer look lost.
var quick = market.Config{HeartbeatInterval: 200 * time.Millisecond, Log: time.Millisecond}

var quickPlacement = scheduler.Config{Window: scheduler.MaxWindow, Backoff: 50 * time.Millisecond}

// fleet starts n members of one cluster, all connected; change may modify a config.
func fleet(t testing.TB, n int, change func(i int, c *node.Config)) []*member {
	t.Helper()
	var all []*member
	token := ""
	for i := range n {
		dir := t.TempDir()
		cfg := node.Config{
			Dir: dir, Grace: time.Second, Executors: runtime.Executors{guests},
			Network: &node.NetworkConfig{
				Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Join: token, Slots: 2, Memory: 64 << 30, AskRate: 1e4, AskBurst: 1e4,
				Market: quick, Placement: quickPlacement,
			},
		}
		if change != nil {
			change(i, &cfg)
		}
		if i == 0 {
			s, err := node.Join(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Cluster.InitCluster(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.Close()
		}
		m := &member{serving: serve(t, cfg), dir: dir, cfg: cfg}
		id, err := m.Identity.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m.did = id.DID
		if i == 0 {
			if token, err = m.Cluster.Invite(t.Context(), api.Invitation{Uses: n}); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, m)
	}
	connectAll(t, all)
	return all
}

// connectAll connects all members and waits until each has the capacity of every other.
func connectAll(t testing.TB, all []*member) {
	t.Helper()
	for i, m := range all {
		for _, o := range all[:i] {
			self, err := o.Peers.Self(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Peers.Connect(t.Context(), self.Addrs[0]+"/p2p/"+self.PeerID); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "all members have each other's capacity", func() bool {
		for _, m := range all {
			peers, err := m.Peers.Peers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			known := 0
			for _, p := range peers {
				if p.Connected && p.Capacity != nil {
					known++
				}
			}
			if known < len(all)-1 {
				return false
			}
		}
		return true
	})
}

// addFile stores a file of random bytes, and returns its root.
func addFile(t testing.TB, m *member, size int) cid.Cid {
	t.Helper()
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte(fmt.Appendf(nil, "%032d", size)))
	r.Read(data)
	p := dag.UnixFSv1
	p.ChunkSize = 64 << 10
	e, err := dag.AddFile(t.Context(), m.Blocks, bytes.NewReader(data), p)
	if err != nil {
		t.Fatal(err)
	}
	err = m.Pins.Pin(t.Context(), api.Pin{Name: e.CID.String(), Roots: []api.Root{{CID: e.CID, Recursive: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

// run runs a request at m and returns the job with its events and its stdout.
func (m *member) run(t testing.TB, r api.Request) (api.Job, []api.Event, string, error) {
	t.Helper()
	var events []api.Event
	var stdout bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	j, err := m.Jobs.Run(ctx, r, api.Watch{Stdout: &stdout, Event: func(e api.Event) { events = append(events, e) }})
	return j, events, stdout.String(), err
}

func texts(events []api.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%s: %s", e.Kind, e.Text))
	}
	return strings.Join(all, "\n")
}

func count(events []api.Event, kind api.EventKind) (n int) {
	for _, e := range events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// receipt returns a decoded receipt.
func receipt(t testing.TB, m *member, c cid.Cid) job.Receipt {
	t.Helper()
	b, err := m.Data.Get(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := job.DecodeReceipt(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// where makes guests that count in which member of a fleet they run.
type where struct {
	mu  sync.Mutex
	ran map[string]int
}

func (w *where) at(name string, f func(context.Context, job.Task, runtime.Env) (runtime.Result, error)) func(context.Context, job.Task, runtime.Env) (runtime.Result, error) {
	return func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
		w.mu.Lock()
		if w.ran == nil {
			w.ran = map[string]int{}
		}
		w.ran[name]++
		w.mu.Unlock()
		return f(ctx, t, env)
	}
}
