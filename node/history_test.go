package node_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// A job whose process was killed is listed by the next owner as interrupted.
func TestKilledRun(t *testing.T) {
	dir := t.TempDir()
	a := start(t, "run", dir)
	a.want(t, "joined true")
	a.want(t, "waiting")
	time.Sleep(time.Second) // until the job has a record
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

// withStore opens the repo without a node: no process owns it.
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

// Invalid records, of whatever kind, hide no valid one.
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
		t.Errorf("expired job: %v", err)
	}
	if d := cmp.Diff([]string{forever.ID, def.ID}, ids()); d != "" {
		t.Error(d)
	}
	clock = clock.Add(api.DefaultKeep)
	if d := cmp.Diff([]string{forever.ID}, ids()); d != "" {
		t.Error(d)
	}

	// The oldest beyond 10,000 are dropped, even a job that is kept for ever.
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
