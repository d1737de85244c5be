package node_test

import (
	"cmp"
	"context"
	goruntime "runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// emptyGuest is the smallest command: one page of memory, and a _start that returns.
const emptyGuest = "\x00asm\x01\x00\x00\x00" +
	"\x01\x04\x01\x60\x00\x00" + // type () -> ()
	"\x03\x02\x01\x00" +
	"\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00" +
	"\x0a\x04\x01\x02\x00\x0b"

// hot is a repo with real executors that has run a guest once.
func hot(b testing.TB) (*node.Session, cid.Cid) {
	b.Helper()
	s, err := node.Join(b.Context(), node.Config{Dir: b.TempDir(), Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Abort() })
	mod := dag.NewBlock(cid.Raw, []byte(emptyGuest))
	if err := s.Blocks.Put(b.Context(), mod); err != nil {
		b.Fatal(err)
	}
	runNumbered(b, s, mod.CID(), -1)
	return s, mod.CID()
}

// runNumbered runs a Task that its argument makes unique.
func runNumbered(b testing.TB, s *node.Session, mod cid.Cid, i int) api.Job {
	tk := task(mod, "_start")
	tk.Args = []string{strconv.Itoa(i)}
	j, err := s.Jobs.Run(b.Context(), api.Request{Task: tk, Trusted: true}, api.Watch{})
	if err != nil || j.Cached || j.Outcome.State != job.OK {
		b.Errorf("%+v, %v", j, err)
	}
	return j
}

// BenchmarkHotRun runs an empty guest: instance, run, Outcome, signed Receipt, all kept. It reports the median,
// and the time of the executor alone.
func BenchmarkHotRun(b *testing.B) {
	s, mod := hot(b)
	var whole, compile, guest []time.Duration
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		j := runNumbered(b, s, mod, i)
		whole = append(whole, time.Since(began))
		compile, guest = append(compile, j.Compile), append(guest, j.Run)
	}
	b.ReportMetric(micros(median(whole)), "us/median")
	b.ReportMetric(micros(median(compile)), "us/module")
	b.ReportMetric(micros(median(guest)), "us/guest")
}

func median[T cmp.Ordered](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// BenchmarkCacheHit runs the same Task repeatedly, from the result cache.
func BenchmarkCacheHit(b *testing.B) {
	s, mod := hot(b)
	tk := task(mod, "_start")
	tk.Args = []string{"-1"}
	for b.Loop() {
		j, err := s.Jobs.Run(b.Context(), api.Request{Task: tk}, api.Watch{})
		if err != nil || !j.Cached {
			b.Fatal(j, err)
		}
	}
}

// BenchmarkRuns runs 10,000 guests on all processors, once, and reports their rate and the growth of the heap
// between the first thousand and the last.
func BenchmarkRuns(b *testing.B) {
	const total = 10_000
	for range b.N {
		s, mod := hot(b)
		heap := func() float64 {
			goruntime.GC()
			var m goruntime.MemStats
			goruntime.ReadMemStats(&m)
			return float64(m.HeapAlloc) / (1 << 20)
		}
		batch := func(from, to int) {
			var group sync.WaitGroup
			next := make(chan int)
			for range goruntime.NumCPU() {
				group.Go(func() {
					for i := range next {
						runNumbered(b, s, mod, i)
					}
				})
			}
			for i := from; i < to; i++ {
				next <- i
			}
			close(next)
			group.Wait()
		}
		batch(0, total/10)
		before, began := heap(), time.Now()
		batch(total/10, total)
		b.ReportMetric(float64(total-total/10)/time.Since(began).Seconds(), "runs/s")
		b.ReportMetric(heap()-before, "MiB-grown")
	}
}

// BenchmarkParts measures the parts of a run outside the executor.
func BenchmarkParts(b *testing.B) {
	s, mod := hot(b)
	ctx := context.Background()
	j := runNumbered(b, s, mod, 0)
	b.Run("task", func(b *testing.B) {
		tk := task(mod, "_start")
		for b.Loop() {
			if _, err := tk.Encode(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("outcome", func(b *testing.B) {
		for b.Loop() {
			if _, err := j.Outcome.Encode(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("receipt", func(b *testing.B) {
		r := job.Receipt{Task: j.Task, Outcome: j.OutcomeCID}
		for b.Loop() {
			unknown(b, 1, r)
		}
	})
	b.Run("record", func(b *testing.B) {
		for b.Loop() {
			if _, err := api.EncodeJob(j); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("find", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Jobs.Find(ctx, j.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDaemon submits trivial jobs to a serving node, through the API on its socket, one after the other and
// 100 at once.
func BenchmarkDaemon(b *testing.B) {
	for _, c := range []struct {
		name    string
		network *node.NetworkConfig
	}{{"alone", nil}, {"peer", &node.NetworkConfig{Listen: []string{"/ip4/127.0.0.1/tcp/0"}}}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			serve(b, node.Config{Dir: dir, Network: c.network})
			s := join(b, dir)
			mod := dag.NewBlock(cid.Raw, []byte(emptyGuest))
			if err := s.Blocks.Put(b.Context(), mod); err != nil {
				b.Fatal(err)
			}
			runNumbered(b, s, mod.CID(), -1)
			b.Run("one", func(b *testing.B) {
				var took []time.Duration
				for i := 0; b.Loop(); i++ {
					began := time.Now()
					runNumbered(b, s, mod.CID(), i)
					took = append(took, time.Since(began))
				}
				b.ReportMetric(micros(median(took)), "us/median")
			})
			b.Run("100", func(b *testing.B) {
				next := make(chan int)
				var group sync.WaitGroup
				for range 100 {
					group.Go(func() {
						for i := range next {
							runNumbered(b, s, mod.CID(), 1e6+i)
						}
					})
				}
				began, n := time.Now(), 0
				for b.Loop() {
					next <- n
					n++
				}
				close(next)
				group.Wait()
				b.ReportMetric(float64(n)/time.Since(began).Seconds(), "jobs/s")
			})
		})
	}
}
