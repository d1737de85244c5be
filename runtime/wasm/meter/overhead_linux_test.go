package meter_test

import (
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// kernels are the exports of testdata/kernels.c with the amount of work of each.
var kernels = []struct {
	name string
	n    int32
}{{"sha256", 32}, {"matmul", 48}, {"nbody", 12}, {"mandelbrot", 48}, {"quicksort", 6}, {"wordcount", 16}, {"saxpy", 200}, {"fib", 52}, {"parse", 48}}

// threadTime returns the CPU time of f on its thread: on a busy machine, wall time is not
// meaningful.
func threadTime(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.Rusage
	unix.Getrusage(unix.RUSAGE_THREAD, &before)
	f()
	unix.Getrusage(unix.RUSAGE_THREAD, &after)
	return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
}

// BenchmarkRewrite reports the speed of rewriting a Go program, by the CPU time of the thread,
// and the size of the output.
func BenchmarkRewrite(b *testing.B) {
	module := goGuest(b)
	b.ReportAllocs()
	var took time.Duration
	for b.Loop() {
		took += threadTime(func() {
			out := rewrite(b, module, meter.Options{})
			b.ReportMetric(float64(len(out))/float64(len(module)), "size")
		})
	}
	b.ReportMetric(float64(len(module))*float64(b.N)/(1<<20)/took.Seconds(), "MiB/s")
}

// BenchmarkOverhead reports, for each kernel and a Go program, the CPU time of the metered
// module over that of the plain one: the median of alternating rounds.
func BenchmarkOverhead(b *testing.B) {
	plain := testdata(b, "kernels.wasm")
	for _, kernel := range kernels {
		b.Run(kernel.name, func(b *testing.B) {
			e := newEngine(b, true)
			runs := []func(){}
			for _, m := range [][]byte{plain, rewrite(b, plain, meter.Options{}), rewrite(b, plain, meter.Options{RawNaN: true})} {
				mod, err := e.start(b.Context(), m, "")
				if err != nil {
					b.Fatal(err)
				}
				f := mod.ExportedFunction(kernel.name)
				runs = append(runs, func() {
					if _, err := f.Call(b.Context(), api.EncodeI32(kernel.n)); err != nil {
						b.Fatal(err)
					}
				})
			}
			compare(b, runs, "x/all", "x/rawnan")
		})
	}
	b.Run("go", func(b *testing.B) {
		e := wasiEngine(b, true)
		module := goGuest(b)
		runs := []func(){}
		for _, m := range [][]byte{module, rewrite(b, module, meter.Options{})} {
			c := compile(b, e, m)
			runs = append(runs, func() { command(b, e, c, "2000") })
		}
		compare(b, runs, "x/all")
	})
	if os.Getenv("LIFTOFF_TEST_LARGE") != "" {
		b.Run("closeOnContextDone", func(b *testing.B) { benchmarkClose(b, plain) })
	}
}

// benchmarkClose reports the cost of the engine's own way to stop a guest, on the same work.
func benchmarkClose(b *testing.B, module []byte) {
	for _, kernel := range kernels {
		b.Run(kernel.name, func(b *testing.B) {
			runs := []func(){}
			for _, closes := range []bool{false, true} {
				r := wazero.NewRuntimeWithConfig(b.Context(), wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(closes))
				defer r.Close(b.Context())
				mod, err := r.Instantiate(b.Context(), module)
				if err != nil {
					b.Fatal(err)
				}
				f := mod.ExportedFunction(kernel.name)
				runs = append(runs, func() { f.Call(b.Context(), api.EncodeI32(kernel.n)) })
			}
			compare(b, runs, "x/close")
		})
	}
}

// compare reports the time of each run except the first over the first one's.
func compare(b *testing.B, runs []func(), units ...string) {
	ratios := make([][]float64, len(runs))
	for range max(b.N, 5) {
		times := make([]float64, len(runs))
		for i, run := range runs {
			times[i] = float64(threadTime(run))
			ratios[i] = append(ratios[i], times[i]/times[0])
		}
	}
	for i, unit := range units {
		slices.Sort(ratios[i+1])
		b.ReportMetric(ratios[i+1][len(ratios[i+1])/2], unit)
	}
}
