package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	goruntime "runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// recursion returns a guest that calls itself endlessly, never more than a hundred levels deep.
func recursion() []byte {
	a := &assembler{}
	a.memory(1)
	again := []byte{0x20, 0, 0x41, 1, 0x6b, 0x10, 0}
	a.fn("", a.typ([]byte{tI32}, nil), cat([]byte{0x20, 0, 0x04, 0x40}, again, again, []byte{0x0b})...)
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), cat([]byte{0x41}, sleb(100), []byte{0x10, 0, 0x41, 0})...)
	return a.bytes()
}

// bulk returns a guest that repeats one bulk instruction over n bytes of a memory of two times
// n.
func bulk(n uint32, op ...byte) []byte {
	a := &assembler{}
	a.memory(2 * n / pageSize)
	run := cat([]byte{0x03, 0x40, 0x41}, sleb(n/2), []byte{0x41, 0, 0x41}, sleb(n), op, []byte{0x0c, 0, 0x0b, 0x41, 0})
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), run...)
	return a.bytes()
}

// hashing returns a guest that repeats the call hash over n bytes.
func hashing(n uint32) []byte {
	a := &assembler{}
	a.imp(abi.Module, "hash", a.typ([]byte{tI32, tI32, tI32, tI32, tI32}, []byte{tI64}))
	a.memory(n/pageSize + 1)
	args := cat([]byte{0x41, 0x12, 0x41, 0, 0x41}, sleb(n), []byte{0x41}, sleb(n), []byte{0x41, 32})
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), cat([]byte{0x03, 0x40}, args, []byte{0x10, 0, 0x1a, 0x0c, 0, 0x0b, 0x41, 0})...)
	return a.bytes()
}

// skipping returns a guest with an endless loop around an if that is never taken and sets n
// locals: the engine moves the locals in each iteration.
func skipping(n int) []byte {
	load := []byte{0x41, 0, 0x28, 2, 0}
	code := cat([]byte{0x03, 0x40}, load, []byte{0x04, 0x40})
	for i := range n {
		code = cat(code, load, []byte{0x21}, u32(uint32(i)))
	}
	code = cat(code, []byte{0x0b}, load, []byte{0x45, 0x0d, 0, 0x0b})
	for i := range n {
		code = cat(code, []byte{0x41, 0, 0x20}, u32(uint32(i)), []byte{0x36, 2, 0})
	}
	return many(uint32(n), 1, code...)()
}

// repeating returns a guest that spins in a series of one instruction.
func repeating(op ...byte) []byte {
	return many(0, 1, cat([]byte{0x03, 0x40}, bytes.Repeat(op, 1000), []byte{0x0c, 0, 0x0b})...)()
}

// spinners are guests that keep a core busy endlessly, each in its own way. Bulk operations and
// hashing process size bytes in one instruction or call.
func spinners(size uint32) map[string][]byte {
	return map[string][]byte{
		"loop":        runtimetest.Module("spin"),
		"recursion":   recursion(),
		"host calls":  runtimetest.Module("calls"),
		"memory.copy": bulk(size, 0xfc, 10, 0, 0),
		"memory.fill": bulk(size, 0xfc, 11, 0),
		"hash":        hashing(size),
		"memory.grow": repeating(0x41, 0, 0x40, 0, 0x1a),
		"ref.func":    repeating(0xd2, 0, 0x1a),
		"moves":       skipping(1500),
	}
}

// latencies are measured while guests spin on every core.
type latencies struct {
	gc     []time.Duration // of runtime.GC
	ticker []time.Duration // how late a ticker of 10 ms fires
	http   time.Duration   // of one request to a handler
	cancel time.Duration   // from the end of the guests' context to that of their runs
}

// spin runs module on some cores and measures n collections and ticks. With deadline, the
// guests are ended by a deadline instead of a cancel.
func spin(t testing.TB, module []byte, cores, n int, deadline bool) latencies {
	t.Helper()
	w := newHarness(t)
	w.Limits = job.Limits{Fuel: 1 << 62, Pages: job.MaxPages}
	task := w.Task(t, module)
	if err := w.Executor.Check(t.Context(), task, w.Limits, w.Env(t)); err != nil {
		t.Fatal(err)
	}
	goruntime.GC() // frees what compiling has left
	handler := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer handler.Close()
	defer handler.Client().CloseIdleConnections()

	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	var guests sync.WaitGroup
	for range cores {
		env := w.Env(t)
		guests.Go(func() {
			if _, err := w.Executor.Run(ctx, task, w.Limits, env); !errors.Is(err, cause) {
				t.Errorf("a guest ended with %v", err)
			}
		})
	}
	var l latencies
	time.Sleep(50 * time.Millisecond)
	for range n {
		begin := time.Now()
		goruntime.GC()
		l.gc = append(l.gc, time.Since(begin))
	}
	tick := time.NewTicker(10 * time.Millisecond)
	for range n {
		due := <-tick.C
		l.ticker = append(l.ticker, time.Since(due))
	}
	tick.Stop()
	begin := time.Now()
	res, err := handler.Client().Get(handler.URL)
	if err != nil {
		t.Errorf("handler: %v", err)
	} else {
		res.Body.Close()
	}
	l.http = time.Since(begin)

	begin = time.Now()
	if deadline {
		begin = begin.Add(20 * time.Millisecond)
		time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
	} else {
		cancel(cause)
	}
	guests.Wait()
	l.cancel = time.Since(begin)
	slices.Sort(l.gc)
	slices.Sort(l.ticker)
	return l
}

func at(p int, ds []time.Duration) time.Duration { return ds[(len(ds)-1)*p/100] }

func (l latencies) String() string {
	return fmt.Sprintf("GC p50 %v, max %v; ticker p95 %v; HTTP %v; end %v", at(50, l.gc), at(100, l.gc), at(95, l.ticker), l.http, l.cancel)
}

// TestLive has guests spin on every core, and on all but one: the collector, timers and an HTTP
// server continue to work, and cancelled guests end. The bounds are far above the measured
// times (see BenchmarkLive), for busy machines; without the metering, none of this would ever
// happen.
func TestLive(t *testing.T) {
	all := goruntime.GOMAXPROCS(0)
	for name, module := range spinners(128 << 20) {
		for _, cores := range []int{all, max(1, all-1)} {
			t.Run(fmt.Sprintf("%s on %d of %d", name, cores, all), func(t *testing.T) {
				l := spin(t, module, cores, 3, name == "loop")
				t.Log(l)
				for what, d := range map[string]time.Duration{"runtime.GC": at(100, l.gc), "a ticker": at(100, l.ticker), "HTTP": l.http, "cancelling": l.cancel} {
					if d > 2*time.Second {
						t.Errorf("%s took %v", what, d)
					}
				}
			})
		}
	}
}

// TestDeadline ends every spinner by the deadline of its context.
func TestDeadline(t *testing.T) {
	w := newHarness(t)
	w.Limits = job.Limits{Fuel: 1 << 62, Pages: job.MaxPages}
	for name, module := range spinners(128 << 20) {
		task := w.Task(t, module)
		if err := w.Executor.Check(t.Context(), task, w.Limits, w.Env(t)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, runtime.ErrTimeout)
		begin := time.Now()
		_, err := w.Executor.Run(ctx, task, w.Limits, w.Env(t))
		took := time.Since(begin) - 50*time.Millisecond
		cancel()
		if !errors.Is(err, runtime.ErrTimeout) || took > 2*time.Second {
			t.Errorf("%s: %v, %v after its deadline", name, err, took)
		}
		t.Logf("%s ended %v after its deadline", name, took)
	}
}

// BenchmarkLive reports latencies in milliseconds while guests spin on every core: at most 5
// for the collector, 1 for 95 of 100 ticks and 5 to cancel.
func BenchmarkLive(b *testing.B) {
	for name, module := range spinners(512 << 20) {
		b.Run(name, func(b *testing.B) {
			var l latencies
			for b.Loop() {
				l = spin(b, module, goruntime.GOMAXPROCS(0), 20, false)
			}
			ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
			b.ReportMetric(ms(at(50, l.gc)), "gc-p50-ms")
			b.ReportMetric(ms(at(95, l.gc)), "gc-p95-ms")
			b.ReportMetric(ms(at(95, l.ticker)), "tick-p95-ms")
			b.ReportMetric(ms(l.cancel), "cancel-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
