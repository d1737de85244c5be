package node_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	p2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Output of the guest of these tests.
const (
	balance = "balance 17\n"
	advice  = "all is well\n"
)

// prints is a guest that prints the correct output.
func prints(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
	io.WriteString(env.Stdout, balance)
	io.WriteString(env.Stderr, advice)
	return result(ctx, t, env, "done")
}

// honestFleet is n members that run prints.
func honestFleet(t *testing.T, n int) []*member {
	return fleet(t, n, func(_ int, c *node.Config) { c.Executors = runtime.Executors{script{"prints": prints}} })
}

// bending is the host of a rogue, which modifies the frames of the market.
type bending struct {
	p2phost.Host
	r *rogue
}

func (b bending) SetStreamHandler(p protocol.ID, f network.StreamHandler) {
	b.Host.SetStreamHandler(p, func(s network.Stream) { f(bentStream{s, b.r}) })
}

type bentStream struct {
	network.Stream
	r *rogue
}

func (s bentStream) Write(b []byte) (int, error) {
	out := b
	if bend := s.r.bend.Load(); bend != nil {
		out = (*bend)(bytes.Clone(b))
	}
	if _, err := s.Stream.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// says makes a rogue print these texts, regardless of its Outcome.
func says(stdout, stderr string) func(context.Context, io.Writer, io.Writer) error {
	return func(_ context.Context, out, errs io.Writer) error {
		if _, err := io.WriteString(out, stdout); err != nil {
			return err
		}
		_, err := io.WriteString(errs, stderr)
		return err
	}
}

// runsHonestly delivers the Outcome of an honest peer.
func runsHonestly(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
	root, out, errs := dag.NewBlock(cid.Raw, []byte("done")), dag.NewBlock(cid.Raw, []byte(balance)), dag.NewBlock(cid.Raw, []byte(advice))
	r.deliver(q, a, run, job.Outcome{
		Task: q.Signed.Task, State: job.OK, Root: root.CID(), Size: 4, Stdout: out.CID(), Stderr: errs.CID(), Log: uint64(len(balance + advice)),
	}, root, out, errs)
}

// screen collects the output shown to a client. Its writers may be called from several goroutines.
type screen struct {
	mu        sync.Mutex
	out, errs strings.Builder
	grown     chan struct{} // has a value after a write
}

func newScreen() *screen { return &screen{grown: make(chan struct{}, 1)} }

func (s *screen) watch() api.Watch {
	write := func(b *strings.Builder) writerFunc {
		return func(p []byte) (int, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			b.Write(p)
			select {
			case s.grown <- struct{}{}:
			default:
			}
			return len(p), nil
		}
	}
	return api.Watch{Stdout: write(&s.out), Stderr: write(&s.errs)}
}

func (s *screen) text() (stdout, stderr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String(), s.errs.String()
}

// shows waits until stdout is text.
func (s *screen) shows(t testing.TB, text string) {
	t.Helper()
	for {
		if out, _ := s.text(); out == text {
			return
		}
		select {
		case <-s.grown:
		case <-t.Context().Done():
			t.Fatal("the test ended")
		}
	}
}

// wantMismatch checks that the client's error names the rogue and the streams, and that another peer has done
// the job.
func wantMismatch(t *testing.T, j api.Job, err error, rogue string, streams ...string) {
	t.Helper()
	if codeOf(err) != api.CodeMismatch {
		t.Fatalf("error %v (%s), want %s", err, codeOf(err), api.CodeMismatch)
	}
	contains(t, err.Error(), rogue, "differs from the outcome", "the output shown on "+strings.Join(streams, " and "))
	if j.State != api.JobDone || j.Where == rogue || j.Outcome == nil {
		t.Errorf("job is %s at %s: %+v", j.State, j.Where, j)
	}
	for _, s := range streams {
		if !slices.ContainsFunc(j.Mismatches, func(m api.Mismatch) bool { return m.Peer == rogue && m.Stream == s && m.Shown }) {
			t.Errorf("record does not name %s: %+v", s, j.Mismatches)
		}
	}
}

// kept returns the output that the node keeps for a job.
func kept(t *testing.T, m *member, id string) (stdout, stderr string) {
	t.Helper()
	s := newScreen()
	if err := m.Jobs.Logs(t.Context(), id, s.watch()); err != nil {
		t.Errorf("logs of an ended job: %v", err)
	}
	return s.text()
}
