package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// bothWays runs f as the owner of a repo and as an attached process.
func bothWays(t *testing.T, f func(t *testing.T, s *node.Session)) {
	t.Run("owner", func(t *testing.T) { f(t, join(t, t.TempDir())) })
	t.Run("attached", func(t *testing.T) {
		dir := t.TempDir()
		join(t, dir)
		f(t, join(t, dir))
	})
}

func equalCIDs(a, b cid.Cid) bool { return a == b }

func TestRun(t *testing.T) {
	bothWays(t, func(t *testing.T, s *node.Session) {
		mod, local := put(t, s, "module"), put(t, s, "local")
		tk := task(mod, "hello", local)
		var stdout, stderr bytes.Buffer
		var done, total int64
		j, err := s.Jobs.Run(t.Context(), api.Request{
			Task: tk, Keep: time.Hour, Local: []cid.Cid{local}, Labels: map[string]string{"k": "v"},
		}, api.Watch{
			Stdout: &stdout, Stderr: &stderr, Progress: func(d, n int64) { done, total = d, n },
		})
		if err != nil {
			t.Fatal(err)
		}
		if stdout.String() != "hello\n" || stderr.String() != "to stderr\n" || done != 1 || total != 2 {
			t.Errorf("stdout %q, stderr %q, progress %d of %d", &stdout, &stderr, done, total)
		}
		if j.State != api.JobDone || j.Outcome == nil || j.Outcome.State != job.OK || j.Err != nil {
			t.Fatalf("%+v", j)
		}

		// Task, Outcome and output are in the repo, and the pin keeps them.
		if _, err := s.Maintenance.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := s.Data.Get(t.Context(), j.OutcomeCID)
		if err != nil {
			t.Fatal(err)
		}
		o, err := job.DecodeOutcome(b)
		if err != nil || !cmp.Equal(o, *j.Outcome, cmp.Comparer(equalCIDs)) {
			t.Errorf("block of the outcome: %+v, %v", o, err)
		}
		if b, err = s.Data.Get(t.Context(), j.Task); err != nil {
			t.Fatal(err)
		}
		if got, err := job.DecodeTask(b); err != nil || got.Mod != mod {
			t.Errorf("block of the task: %+v, %v", got, err)
		}
		pins, err := s.Pins.Pins(t.Context())
		if err != nil || len(pins) != 1 {
			t.Fatalf("%v, %v", pins, err)
		}
		want := []api.Root{
			{CID: j.Task},
			{CID: j.OutcomeCID},
			{CID: j.Receipt},
			{CID: mod, Recursive: true},
			{CID: j.Outcome.Root, Recursive: true},
			{CID: j.Outcome.Stdout, Recursive: true},
			{CID: j.Outcome.Stderr, Recursive: true},
			{CID: local, Recursive: true},
		}
		if d := cmp.Diff(want, pins[0].Roots, cmp.Comparer(equalCIDs)); d != "" {
			t.Error(d)
		}
		if pins[0].Name != "job:"+j.ID || !pins[0].Expires.Equal(j.Created.Add(time.Hour)) {
			t.Errorf("%+v", pins[0])
		}

		// The history has the job as it was reported, under any unique prefix.
		list, err := s.Jobs.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		short := j
		short.Events = nil
		if d := cmp.Diff([]api.Job{short}, list, cmp.Comparer(equalCIDs)); d != "" {
			t.Error(d)
		}
		if found, err := s.Jobs.Find(t.Context(), j.ID); err != nil || !cmp.Equal(found, j, cmp.Comparer(equalCIDs)) {
			t.Errorf("%v, %v", cmp.Diff(j, found, cmp.Comparer(equalCIDs)), err)
		}
		for _, prefix := range []string{j.ID, j.ID[:4], j.ID[2:9]} {
			if got, err := s.Jobs.Find(t.Context(), prefix); err != nil || got.ID != j.ID {
				t.Errorf("find %q: %+v, %v", prefix, got.ID, err)
			}
		}

		// A repeated request is another job with the same Outcome.
		again, err := s.Jobs.Run(t.Context(), api.Request{Task: tk, Keep: api.KeepForever}, api.Watch{})
		if err != nil || again.OutcomeCID != j.OutcomeCID || again.ID <= j.ID {
			t.Fatalf("%+v, %v", again, err)
		}
		if _, err := s.Jobs.Find(t.Context(), "j-0"); codeOf(err) != api.CodeUsage {
			t.Errorf("ambiguous prefix: %v", err)
		}
		if _, err := s.Jobs.Find(t.Context(), "j-vvvv"); codeOf(err) != api.CodeMissing {
			t.Errorf("unknown prefix: %v", err)
		}
		if _, err := s.Jobs.Find(t.Context(), "j-zz"); codeOf(err) != api.CodeMissing {
			t.Errorf("a word that is not an id: %v", err)
		}
		for _, bad := range []string{"j-../../x", "", "j-", "../pins"} {
			if _, err := s.Jobs.Find(t.Context(), bad); codeOf(err) != api.CodeUsage {
				t.Errorf("find %q: %v", bad, err)
			}
		}
	})
}

func TestRunErrors(t *testing.T) {
	absent := dag.NewBlock(cid.Raw, []byte("absent")).CID()
	for _, c := range []struct {
		name string
		req  func(mod cid.Cid, partial cid.Cid) api.Request
		code api.Code
		says []string
	}{
		{"invalid task", func(mod, _ cid.Cid) api.Request {
			tk := task(mod, "hello")
			tk.Det = "det9"
			return api.Request{Task: tk}
		}, api.CodeUsage, []string{"det9"}},
		{"negative timeout", func(mod, _ cid.Cid) api.Request {
			return api.Request{Task: task(mod, "hello"), Timeout: -1}
		}, api.CodeUsage, nil},
		{"many labels", func(mod, _ cid.Cid) api.Request {
			l := map[string]string{}
			for i := range 65 {
				l[fmt.Sprint(i)] = ""
			}
			return api.Request{Task: task(mod, "hello"), Labels: l}
		}, api.CodeUsage, []string{"65 labels"}},
		{"refused", func(mod, _ cid.Cid) api.Request {
			return api.Request{Task: task(mod, "none")}
		}, api.CodeRefused, []string{`no export "none"`}},
		{"no executor", func(mod, _ cid.Cid) api.Request {
			tk := task(mod, "hello")
			tk.ABI = job.ABILiftoff
			return api.Request{Task: tk}
		}, api.CodeRefused, []string{job.ABILiftoff}},
		{"no module", func(_, _ cid.Cid) api.Request {
			return api.Request{Task: task(absent, "hello")}
		}, api.CodeMissing, []string{"the module", absent.String()}},
		{"no input", func(mod, _ cid.Cid) api.Request {
			return api.Request{Task: task(mod, "hello", mod, absent)}
		}, api.CodeMissing, []string{"input 1", absent.String()}},
		{"incomplete input", func(mod, partial cid.Cid) api.Request {
			return api.Request{Task: task(mod, "read", mod, partial)}
		}, api.CodeFault, []string{"input 1", absent.String()}},
		{"timeout", func(mod, _ cid.Cid) api.Request {
			return api.Request{Task: task(mod, "wait"), Timeout: 20 * time.Millisecond}
		}, api.CodeTimeout, []string{"20ms"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, s *node.Session) {
				mod := put(t, s, "module")
				partial := dag.NewBlock(cid.DagCBOR, cborList(mod, absent))
				if err := s.Blocks.Put(t.Context(), partial); err != nil {
					t.Fatal(err)
				}
				_, err := s.Jobs.Run(t.Context(), c.req(mod, partial.CID()), api.Watch{})
				if codeOf(err) != c.code {
					t.Fatalf("%v (code %q), want code %q", err, codeOf(err), c.code)
				}
				contains(t, err.Error(), c.says...)
				jobs, lerr := s.Jobs.List(t.Context())
				if lerr != nil {
					t.Fatal(lerr)
				}
				for _, j := range jobs {
					if j.State != api.JobFailed || j.Err == nil || j.Err.Message != err.Error() || j.OutcomeCID.Defined() {
						t.Errorf("history: %+v", j)
					}
				}
				for _, j := range jobs { // only printed output is kept
					printed := 0
					for _, c := range []cid.Cid{j.Stdout, j.Stderr} {
						if c.Defined() {
							printed++
						}
					}
					if pins, err := s.Pins.Pins(t.Context()); err != nil || printed == 0 && len(pins) != 0 || printed > 0 && (len(pins) != 1 || len(pins[0].Roots) != printed) {
						t.Errorf("pins of a run without an Outcome: %v, %v", pins, err)
					}
				}
			})
		})
	}
}

// cborList is the DAG-CBOR of a list of links.
func cborList(cs ...cid.Cid) []byte {
	b := []byte{0x80 | byte(len(cs))}
	for _, c := range cs {
		b = append(b, 0xd8, 42, 0x58, byte(1+c.ByteLen()), 0)
		b = append(b, c.Bytes()...)
	}
	return b
}

func TestRunCountsWhatItReads(t *testing.T) {
	bothWays(t, func(t *testing.T, s *node.Session) {
		leaves := []cid.Cid{put(t, s, "leaf 1"), put(t, s, "leaf of 2")}
		modLeaf := put(t, s, "module's leaf")
		mod := dag.NewBlock(cid.DagCBOR, cborList(modLeaf))
		in := dag.NewBlock(cid.DagCBOR, cborList(leaves[0], leaves[1], leaves[0], modLeaf))
		if err := s.Blocks.Put(t.Context(), mod, in); err != nil {
			t.Fatal(err)
		}
		j, err := s.Jobs.Run(t.Context(), api.Request{Task: task(mod.CID(), "read", in.CID(), in.CID())}, api.Watch{})
		if err != nil {
			t.Fatal(err)
		}
		want := api.Read{Blocks: 4, Bytes: int64(len(in.Data()) + len("leaf 1") + len("leaf of 2") + len("module's leaf"))}
		if j.Read != want {
			t.Errorf("%+v, want %+v", j.Read, want)
		}
	})
}

func TestRunCancelled(t *testing.T) {
	bothWays(t, func(t *testing.T, s *node.Session) {
		mod := put(t, s, "module")
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Jobs.Run(ctx, api.Request{Task: task(mod, "wait")}, api.Watch{
			Stdout: writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil }),
		})
		if codeOf(err) != api.CodeInterrupted {
			t.Fatal(err)
		}
		eventually(t, "the run has ended", func() bool {
			jobs, err := s.Jobs.List(t.Context())
			return err == nil && len(jobs) == 1 && jobs[0].State == api.JobFailed && jobs[0].Err.Code == api.CodeInterrupted
		})
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A failing writer ends the run, with the writer's error.
func TestRunWriteError(t *testing.T) {
	bothWays(t, func(t *testing.T, s *node.Session) {
		mod := put(t, s, "module")
		_, err := s.Jobs.Run(t.Context(), api.Request{Task: task(mod, "lines")}, api.Watch{
			Stdout: writerFunc(func([]byte) (int, error) { return 0, syscall.EPIPE }),
		})
		if !errors.Is(err, syscall.EPIPE) {
			t.Fatal(err)
		}
	})
}

// A million lines arrive complete and in order, in far fewer writes.
func TestRunManyLines(t *testing.T) {
	bothWays(t, func(t *testing.T, s *node.Session) {
		mod := put(t, s, "module")
		var want bytes.Buffer
		for i := range 1_000_000 {
			fmt.Fprintf(&want, "line %d\n", i)
		}
		var got bytes.Buffer
		writes := 0
		_, err := s.Jobs.Run(t.Context(), api.Request{Task: task(mod, "lines")}, api.Watch{
			Stdout: writerFunc(func(b []byte) (int, error) { writes++; return got.Write(b) }),
		})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%d bytes, want %d", got.Len(), want.Len())
		}
		if !s.Owner && writes > 10_000 {
			t.Errorf("%d writes", writes)
		}
	})
}
