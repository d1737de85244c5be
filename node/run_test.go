package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// bothWays runs f as the owner of a repo and through one.
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
		if j.State != api.JobDone || j.Result == nil || j.Result.State != job.OK || j.Err != nil {
			t.Fatalf("%+v", j)
		}

		// Task, Outcome and output are here, and stay when nothing but the pin keeps them.
		if _, err := s.Upkeep.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := s.Data.Get(t.Context(), j.Outcome)
		if err != nil {
			t.Fatal(err)
		}
		o, err := job.DecodeOutcome(b)
		if err != nil || !cmp.Equal(o, *j.Result, cmp.Comparer(equalCIDs)) {
			t.Errorf("the Outcome's block: %+v, %v", o, err)
		}
		if b, err = s.Data.Get(t.Context(), j.Task); err != nil {
			t.Fatal(err)
		}
		if got, err := job.DecodeTask(b); err != nil || got.Mod != mod {
			t.Errorf("the Task's block: %+v, %v", got, err)
		}
		pins, err := s.Pins.Pins(t.Context())
		if err != nil || len(pins) != 1 {
			t.Fatalf("%v, %v", pins, err)
		}
		want := []api.Root{
			{CID: j.Task},
			{CID: j.Outcome},
			{CID: j.Receipt},
			{CID: mod, Recursive: true},
			{CID: j.Result.Root, Recursive: true},
			{CID: local, Recursive: true},
		}
		if d := cmp.Diff(want, pins[0].Roots, cmp.Comparer(equalCIDs)); d != "" {
			t.Error(d)
		}
		if pins[0].Name != "job:"+j.ID || !pins[0].Expires.Equal(j.Created.Add(time.Hour)) {
			t.Errorf("%+v", pins[0])
		}

		// History has it as it was reported, by any unique prefix.
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

		// The same again is another job with the same Outcome.
		again, err := s.Jobs.Run(t.Context(), api.Request{Task: tk, Keep: api.KeepForever}, api.Watch{})
		if err != nil || again.Outcome != j.Outcome || again.ID <= j.ID {
			t.Fatalf("%+v, %v", again, err)
		}
		if _, err := s.Jobs.Find(t.Context(), "j-0"); codeOf(err) != api.CodeUsage {
			t.Errorf("a prefix of two: %v", err)
		}
		if _, err := s.Jobs.Find(t.Context(), "j-vvvv"); codeOf(err) != api.CodeMissing {
			t.Errorf("a prefix of none: %v", err)
		}
		for _, bad := range []string{"j-../../x", "", "j-", "j-zz", "../pins"} {
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
					if j.State != api.JobFailed || j.Err == nil || j.Err.Message != err.Error() || j.Outcome.Defined() {
						t.Errorf("history: %+v", j)
					}
				}
				for _, j := range jobs { // all that is kept is what it has printed
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

// A reader that goes away ends the run, with the reader's error.
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

// A million lines come whole and in order, and in far fewer writes.
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

// Runs whose output nobody reads make room for others.
func TestStalledRunsLendTheirPlaces(t *testing.T) {
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
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := s.Jobs.Run(ctx, api.Request{Task: task(mod, "hello")}, api.Watch{Stdout: io.Discard}); err != nil {
		t.Errorf("a run beside stalled ones: %v", err)
	}
	close(release)
	wg.Wait()
}

// At most as many guests as processors execute at once.
func TestPlaces(t *testing.T) {
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
		t.Errorf("%d at once", most)
	}
}

// An owner whose guests take all processors still serves the others.
func TestOwnerUnderLoad(t *testing.T) {
	dir := t.TempDir()
	a := start(t, "spin", dir)
	a.want(t, "joined true")
	busy := func() bool {
		scratch, _ := filepath.Glob(filepath.Join(dir, "scratch", "*"))
		return len(scratch) == goruntime.NumCPU()
	}
	eventually(t, "the guests run", busy)
	time.Sleep(300 * time.Millisecond) // to be compiled, and to loop
	for range 5 {
		s, err := node.Join(t.Context(), node.Config{Dir: dir, Wait: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if s.Owner {
			t.Fatal("the guests have ended")
		}
		// With the collector's usual pace these would be enough to stop everything.
		big := strings.Repeat("x", 1<<20)
		stuck := time.AfterFunc(5*time.Second, func() { a.Process.Kill() }) // then the calls fail
		if b, err := s.Blocks.Get(t.Context(), put(t, s, big)); err != nil || string(b.Data()) != big {
			t.Errorf("%d bytes, %v", len(b.Data()), err)
		}
		stuck.Stop()
		s.Close()
	}
}

// A job whose process was killed is known to the next owner as interrupted.
func TestKilledRun(t *testing.T) {
	dir := t.TempDir()
	a := start(t, "run", dir)
	a.want(t, "joined true")
	a.want(t, "waiting")
	time.Sleep(300 * time.Millisecond) // until it has a record
	a.Process.Kill()
	a.Wait()
	if left, _ := filepath.Glob(filepath.Join(dir, "scratch", "*")); len(left) != 1 {
		t.Fatalf("scratch of the killed process: %v", left)
	}
	s := join(t, dir)
	jobs, err := s.Jobs.List(t.Context())
	if err != nil || len(jobs) != 1 {
		t.Fatalf("%v, %v", jobs, err)
	}
	if j := jobs[0]; j.State != api.JobFailed || j.Err.Code != api.CodeInterrupted {
		t.Errorf("%+v", j)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "scratch", "*")); len(left) != 0 {
		t.Errorf("scratch: %v", left)
	}
}

// withStore opens the repo without a node: no process has it.
func withStore(t testing.TB, dir string, f func(s *store.Store)) {
	t.Helper()
	s, err := store.Open(dir, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	f(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func commit(t testing.TB, s *store.Store, records ...store.Record) {
	t.Helper()
	if err := s.Commit(t.Context(), store.Batch{Records: records}); err != nil {
		t.Fatal(err)
	}
}

// jobRecords returns the names of the jobs' records.
func jobRecords(t testing.TB, s *store.Store) (names []string) {
	t.Helper()
	err := s.Records(t.Context(), "j/", func(name string, _ func() ([]byte, error)) error {
		names = append(names, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Records that are no records, of whatever kind, hide no other.
func TestDamagedHistory(t *testing.T) {
	dir := t.TempDir()
	s, err := node.Join(t.Context(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	mod := put(t, s, "module")
	j, err := s.Jobs.Run(t.Context(), api.Request{Task: task(mod, "hello")}, api.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	withStore(t, dir, func(st *store.Store) {
		good, found, err := st.Lookup(jobRecords(t, st)[0])
		if err != nil || !found {
			t.Fatal(err)
		}
		commit(t, st,
			store.Record{Name: "j/" + strings.Repeat("v", 20), Value: good}, // another job's record
			store.Record{Name: "j/" + strings.Repeat("u", 20)},
			store.Record{Name: "j/" + strings.Repeat("t", 20), Value: []byte(`12345678{"id":1}`)},
			store.Record{Name: "j/" + strings.Repeat("s", 20), Value: []byte("short")},
			store.Record{Name: "j/short", Value: good},
			store.Record{Name: "j/\xff", Value: good},
		)
	})
	s = join(t, dir)
	jobs, err := s.Jobs.List(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].ID != j.ID {
		t.Errorf("%v, %v", jobs, err)
	}
	if _, err := s.Jobs.Find(t.Context(), "j-"+strings.Repeat("0", 20)); codeOf(err) != api.CodeFault {
		t.Errorf("find a damaged record: %v", err)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	dir := t.TempDir()
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cfg := config(dir)
	cfg.Clock = func() time.Time { return clock }
	s, err := node.Join(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mod := put(t, s, "module")
	run := func(keep time.Duration) api.Job {
		t.Helper()
		j, err := s.Jobs.Run(t.Context(), api.Request{Task: task(mod, "hello"), Keep: keep}, api.Watch{})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	short, def, forever := run(time.Hour), run(0), run(api.KeepForever)
	ids := func() (ids []string) {
		jobs, err := s.Jobs.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			ids = append(ids, j.ID)
		}
		return ids
	}
	if d := cmp.Diff([]string{forever.ID, def.ID, short.ID}, ids()); d != "" {
		t.Fatal(d)
	}
	clock = clock.Add(time.Hour)
	if _, err := s.Jobs.Find(t.Context(), short.ID); codeOf(err) != api.CodeMissing {
		t.Errorf("an expired job: %v", err)
	}
	if d := cmp.Diff([]string{forever.ID, def.ID}, ids()); d != "" {
		t.Error(d)
	}
	clock = clock.Add(api.DefaultKeep)
	if d := cmp.Diff([]string{forever.ID}, ids()); d != "" {
		t.Error(d)
	}

	// The oldest go beyond 10,000, even one that is kept for ever.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	withStore(t, dir, func(st *store.Store) {
		var newer []store.Record
		for i := range 10_000 {
			newer = append(newer, store.Record{Name: fmt.Sprintf("j/0%019d", i)})
		}
		commit(t, st, newer...)
	})
	s, err = node.Join(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	withStore(t, dir, func(st *store.Store) {
		if n := len(jobRecords(t, st)); n != 10_000 {
			t.Errorf("%d records", n)
		}
	})
}

func BenchmarkJoinClose(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		s, err := node.Join(b.Context(), config(dir))
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAttachDetach(b *testing.B) {
	dir := b.TempDir()
	join(b, dir)
	for b.Loop() {
		s, err := node.Join(b.Context(), config(dir))
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	for _, way := range []string{"owner", "attached"} {
		b.Run(way, func(b *testing.B) {
			dir := b.TempDir()
			s := join(b, dir)
			if way == "attached" {
				s = join(b, dir)
			}
			mod := put(b, s, "module")
			for b.Loop() {
				if _, err := s.Jobs.Run(b.Context(), api.Request{Task: task(mod, "hello")}, api.Watch{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, way := range []string{"owner", "attached"} {
		b.Run(way, func(b *testing.B) {
			dir := b.TempDir()
			s := join(b, dir)
			if way == "attached" {
				s = join(b, dir)
			}
			c := put(b, s, strings.Repeat("x", 1<<20))
			b.SetBytes(1 << 20)
			for b.Loop() {
				if _, err := s.Blocks.Get(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
