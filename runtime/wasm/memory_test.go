package wasm

import (
	"errors"
	"testing"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

func TestMemoryNeverMoves(t *testing.T) {
	m := newMemory(100)
	defer m.Free()
	l := m.Allocate(0, 65536*pageSize)
	first := l.Reallocate(pageSize)
	first[pageSize-1] = 7
	grown := l.Reallocate(100 * pageSize)
	if &first[0] != &grown[0] || grown[pageSize-1] != 7 || len(grown) != 100*pageSize || cap(grown) != len(grown) {
		t.Errorf("grown to %d bytes, cap %d; same address: %v", len(grown), cap(grown), &first[0] == &grown[0])
	}
	grown[100*pageSize-1] = 1
	if m.pages() != 100 {
		t.Errorf("peak of %d pages", m.pages())
	}
	func() {
		defer func() {
			var quota *runtime.QuotaError
			if err, _ := recover().(error); !errors.As(err, &quota) || quota.Code != job.QuotaPages {
				t.Errorf("growing past the limit: %v", err)
			}
		}()
		l.Reallocate(100*pageSize + 1)
	}()
	l.Free()
	l.Free()
	if m.pages() != 100 {
		t.Errorf("peak of %d pages after the end", m.pages())
	}
}

func TestMemoryLimits(t *testing.T) {
	sized := func(limits ...byte) []byte {
		a := guest(0x41, 0)
		a.sections[sectionMemory][0] = limits
		return a.bytes()
	}
	// grow returns a guest that grows its memory by n pages and exits with the result of
	// memory.grow plus 1.
	grow := func(n uint32) []byte {
		return guest(cat([]byte{0x41}, sleb(n), []byte{0x40, 0, 0x41, 1, 0x6a})...).bytes()
	}
	for _, c := range []struct {
		name   string
		module []byte
		limit  uint64
		state  job.State
		code   int
		pages  uint64
	}{
		{"minimum at the limit", sized(0, 10), 10, job.OK, 0, 10},
		{"minimum over the limit", sized(0, 11), 10, job.Quota, job.QuotaPages, 0},
		{"no memory at all", sized(0, 0), 10, job.OK, 0, 0},
		{"maximum of none", sized(1, 0, 0), 10, job.OK, 0, 0},
		{"4 GiB by default", sized(cat([]byte{0}, u32(65536))...), 0, job.Quota, job.QuotaPages, 0},
		{"4 GiB when allowed", sized(cat([]byte{0}, u32(65536))...), 65536, job.OK, 0, 65536},
		{"limit over 4 GiB", sized(0, 1), 1 << 40, job.OK, 0, 1},
		{"grow to the limit", grow(9), 10, job.Exit, 2, 10},
		{"grow past the limit", grow(10), 10, job.Quota, job.QuotaPages, 1},
		{"grow past 4 GiB", grow(65536), 10, job.OK, 0, 1},
		{"grow past any number", guest(0x41, 0x7f, 0x40, 0, 0x41, 1, 0x6a).bytes(), 10, job.OK, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newHarness(t)
			w.Limits.Pages = c.limit
			o := w.Run(t, w.Task(t, c.module)).Outcome
			if o.State != c.state || o.Code != c.code || o.Pages != c.pages {
				t.Errorf("%s %d, %d pages; want %s %d, %d pages", o.State, o.Code, o.Pages, c.state, c.code, c.pages)
			}
		})
	}
}

// TestMemoryIsFreed ends runs in ways in which wazero itself does not free the memory.
func TestMemoryIsFreed(t *testing.T) {
	start := guest(0x41, 0)
	start.start = u32(start.fn("", start.typ(nil, nil), 0x00))
	for name, module := range map[string][]byte{"start function": start.bytes(), "trap": runtimetest.Module("trap"), "grow": runtimetest.Module("grow")} {
		w := newHarness(t)
		task := w.Task(t, module, w.Add(t, nil))
		id, err := task.CID()
		if err != nil {
			t.Fatal(err)
		}
		m, err := w.Executor.(*Executor).modules.get(t.Context(), task, w.Env(t))
		if err != nil {
			t.Fatal(err)
		}
		r, err := newRun(t.Context(), id, task, job.DefaultLimits, w.Env(t), m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.call(m); err == nil {
			t.Errorf("%s: no error", name)
		}
		r.close()
		if r.memory.addr != nil {
			t.Errorf("%s: memory not freed", name)
		}
		m.release()
	}
}

// TestAllocatorFails makes the allocator fail while the instance is created, where wazero does
// not recover: that is an error and not an Outcome.
func TestAllocatorFails(t *testing.T) {
	w := newHarness(t)
	task := w.Task(t, runtimetest.Module("ok"))
	id, err := task.CID()
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.Executor.(*Executor).modules.get(t.Context(), task, w.Env(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.release()
	r, err := newRun(t.Context(), id, task, job.DefaultLimits, w.Env(t), m)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	r.memory.Allocate(0, pageSize) // a second memory is an error
	if ended, err := r.evaluate(m); err == nil || ended.state != "" {
		t.Errorf("ended %+v, error %v", ended, err)
	}
}
