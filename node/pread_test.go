package node_test

import (
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// leaper is a module that reads 4 KiB at each of n random, aligned offsets below size, a power of two, through
// the named import. before and after are the code for the import's arguments before and after the offset.
func leaper(module, name, entry string, params, before, after []byte, results, end []byte, n, size int64) []byte {
	str := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	section := func(id byte, parts ...[]byte) []byte {
		body := slices.Concat(parts...)
		return slices.Concat([]byte{id}, leb(int64(len(body)), false), body)
	}
	body := slices.Concat(
		[]byte{2, 1, 0x7e, 1, 0x7f},                                                   // i64 x, i32 n
		[]byte{0x41}, leb(64, true), []byte{0x41}, leb(128, true), []byte{0x36, 2, 0}, // the iovec's pointer
		[]byte{0x41}, leb(68, true), []byte{0x41}, leb(4096, true), []byte{0x36, 2, 0}, // the iovec's length
		[]byte{0x42}, leb(0x2545f4914f6cdd1d, true), []byte{0x21, 0},
		[]byte{0x41}, leb(n, true), []byte{0x21, 1, 0x03, 0x40},
		[]byte{0x20, 0, 0x20, 0, 0x42, 13, 0x86, 0x85, 0x22, 0}, // x ^= x << 13
		[]byte{0x20, 0, 0x42, 7, 0x88, 0x85, 0x22, 0},           // x ^= x >> 7
		[]byte{0x20, 0, 0x42, 17, 0x86, 0x85, 0x21, 0},          // x ^= x << 17
		before, []byte{0x20, 0, 0x42}, leb(size-4096, true), []byte{0x83}, after,
		[]byte{0x10, 0, 0x1a, 0x20, 1, 0x41, 1, 0x6b, 0x22, 1, 0x0d, 0, 0x0b}, end, []byte{0x0b},
	)
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, []byte{2, 0x60}, params, []byte{0x60, 0}, results),
		section(2, []byte{1}, str(module), str(name), []byte{0, 0}),
		section(3, []byte{1, 1}),
		section(5, []byte{1, 0, 1}),
		section(7, []byte{2}, str("memory"), []byte{2, 0}, str(entry), []byte{0, 1}),
		section(10, []byte{1}, leb(int64(len(body)), false), body),
	)
}

// leb encodes v as a LEB128 number.
func leb(v int64, signed bool) (b []byte) {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && !(signed && c&0x40 != 0) || signed && v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

const (
	tI32 = 0x7f
	tI64 = 0x7e
)

// leapers returns such modules for both ABIs; both read the Task's first input or its stdin.
func leapers(n, size int64) map[string][]byte {
	return map[string][]byte{
		job.ABILiftoff: leaper(abi.Module, "file_read", "liftoff_run",
			[]byte{4, tI32, tI64, tI32, tI32, 1, tI64}, []byte{0x41, 0}, slices.Concat([]byte{0x41}, leb(128, true), []byte{0x41}, leb(4096, true)),
			[]byte{1, tI32}, []byte{0x41, 0}, n, size),
		job.ABIWASI: leaper("wasi_snapshot_preview1", "fd_pread", "_start",
			[]byte{5, tI32, tI32, tI32, tI64, tI32, 1, tI32}, slices.Concat([]byte{0x41, 0, 0x41}, leb(64, true), []byte{0x41, 1}), []byte{0x41, 32},
			[]byte{0}, nil, n, size),
	}
}

// leap adds a file of size random bytes and returns, for each ABI, a run that reads it at n offsets.
func leap(t testing.TB, n, size int64) (file cid.Cid, runs map[string]func() api.Job) {
	t.Helper()
	s, err := node.Join(t.Context(), node.Config{Dir: t.TempDir(), Version: "leap"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abort() })
	f, err := dag.AddFile(t.Context(), s.Blocks, io.LimitReader(rand.NewChaCha8([32]byte{1}), size), dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	runs = map[string]func() api.Job{}
	for name, code := range leapers(n, size) {
		mod := dag.NewBlock(cid.Raw, code)
		if err := s.Blocks.Put(t.Context(), mod); err != nil {
			t.Fatal(err)
		}
		tk := task(mod.CID(), "liftoff_run")
		tk.ABI, tk.In = name, []job.Input{{CID: f.CID}}
		if name == job.ABIWASI {
			tk.Fn, tk.Stdin, tk.In = "_start", f.CID, nil
		}
		runs[name] = func() api.Job {
			j, err := s.Jobs.Run(t.Context(), api.Request{Task: tk, Trusted: true, NoCache: true}, api.Watch{})
			if err != nil || j.Outcome.State != job.OK {
				t.Fatalf("%s: %+v, %v", name, j, err)
			}
			return j
		}
	}
	return f.CID, runs
}

// TestPartialReadsAreMetered: partial reads are counted by the blocks that they touch, and cost as much fuel as
// reading those blocks whole.
func TestPartialReadsAreMetered(t *testing.T) {
	const leaves, n = 8, 200
	_, runs := leap(t, n, leaves<<20)
	for name, run := range runs {
		j := run()
		if j.Read.Blocks != leaves+1 || j.Read.Bytes <= leaves<<20 || j.Read.Bytes > leaves<<20+4096 {
			t.Errorf("%s: read %+v, want the root and %d leaves", name, j.Read, leaves)
		}
		least := uint64(n * (abi.FuelBlock + abi.FuelCopy(4096)))
		if j.Outcome.Fuel < least || j.Outcome.Fuel > least+n*1000+2*abi.FuelBlock {
			t.Errorf("%s: %d fuel, want %d and a little", name, j.Outcome.Fuel, least)
		}
	}
}

// BenchmarkGuestPread reads 4 KiB at random in a file of 1 GiB through a guest's call: at most
// 60 us at the median of runs, hot.
func BenchmarkGuestPread(b *testing.B) {
	const n = 1000
	_, runs := leap(b, n, 1<<30)
	for name, run := range runs {
		b.Run(name, func(b *testing.B) {
			for range 8 { // so that every leaf was read once
				run()
			}
			var each []time.Duration
			for b.Loop() {
				each = append(each, run().Run/n)
			}
			b.ReportMetric(micros(median(each)), "us/read")
		})
	}
}
