package wasm

import (
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// loop returns a guest that makes one host call n times; n is the length of its args.
func loop(name string, params []byte, args ...byte) []byte {
	a := &assembler{}
	a.imp(abi.Module, name, a.typ(params, []byte{tI64}))
	a.add(sectionMemory, 0, 6)
	a.add(sectionExport, cat(vec([]byte("memory")), []byte{kindMemory, 0})...)
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), 0x41, 0)
	// loop: local 0 counts down to 0.
	run := cat([]byte{0, 0x03, 0x40}, args, []byte{0x10, 0, 0x1a, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x0b})
	i := a.add(sectionFunction, u32(a.typ([]byte{tI32}, nil))...) + 1
	a.add(sectionCode, vec(run)...)
	a.add(sectionExport, cat(vec([]byte("loop")), []byte{kindFunc}, u32(i))...)
	return a.bytes()
}

// benchLoop runs the loop of module b.N times.
func benchLoop(b *testing.B, module []byte, inputs ...string) {
	w := runtimetest.NewHarness(shared(b))
	var cids []cid.Cid
	for _, in := range inputs {
		cids = append(cids, addBlock(b, w, cid.Raw, in).CID())
	}
	task := w.Task(b, module, cids...)
	id, err := task.CID()
	if err != nil {
		b.Fatal(err)
	}
	m, err := w.Executor.(*Executor).modules.get(b.Context(), task, w.Env(b))
	if err != nil {
		b.Fatal(err)
	}
	defer m.release()
	r, err := newRun(b.Context(), id, task, job.DefaultLimits, w.Env(b), m)
	if err != nil {
		b.Fatal(err)
	}
	defer r.close()
	ctx := &runContext{experimental.WithMemoryAllocator(b.Context(), r.memory), r}
	mod, err := r.instantiate(ctx, m, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		b.Fatal(err)
	}
	defer mod.Close(b.Context())
	f := mod.ExportedFunction("loop")
	if _, err := f.Call(ctx, 1); err != nil { // touches the memory for the first time
		b.Fatal(err)
	}
	b.ResetTimer()
	if _, err := f.Call(ctx, uint64(b.N)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkHostCall measures a host call: at most 100 ns.
func BenchmarkHostCall(b *testing.B) { benchLoop(b, loop("input_count", nil)) }

const benchBlock = 256 << 10

// BenchmarkBlockRead copies a block of 256 KiB into a guest: at least 0.9 of the speed
// of BenchmarkMemmove.
func BenchmarkBlockRead(b *testing.B) {
	b.SetBytes(benchBlock)
	args := cat([]byte{0x41, 0, 0x41, 0, 0x41, 0, 0x41}, sleb(benchBlock))
	benchLoop(b, loop("block_read", []byte{tI32, tI32, tI32, tI32}, args...), string(make([]byte, benchBlock)))
}

// BenchmarkMemmove is the reference for BenchmarkBlockRead.
func BenchmarkMemmove(b *testing.B) {
	src, m := make([]byte, benchBlock), newMemory(6)
	dst := m.Allocate(6*pageSize, 6*pageSize).Reallocate(6 * pageSize)
	defer m.Free()
	copy(dst, src)
	b.SetBytes(benchBlock)
	for b.Loop() {
		copy(dst, src)
	}
}

// BenchmarkInstance16MiB instantiates a compiled module with 16 MiB of memory, with everything
// else that a run needs: at most 80 us.
func BenchmarkInstance16MiB(b *testing.B) {
	w := runtimetest.NewHarness(shared(b))
	a := &assembler{}
	a.memory(256)
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), 0x41, 0)
	task := w.Task(b, a.bytes())
	id, err := task.CID()
	if err != nil {
		b.Fatal(err)
	}
	m, err := w.Executor.(*Executor).modules.get(b.Context(), task, w.Env(b))
	if err != nil {
		b.Fatal(err)
	}
	defer m.release()
	env := w.Env(b)
	for b.Loop() {
		r, err := newRun(b.Context(), id, task, job.DefaultLimits, env, m)
		if err != nil {
			b.Fatal(err)
		}
		if code, err := r.call(m); err != nil || code != 0 {
			b.Fatal(code, err)
		}
		r.close()
	}
}

// BenchmarkRun measures a whole Run of the smallest guest, with its module in memory.
func BenchmarkRun(b *testing.B) {
	w := runtimetest.NewHarness(shared(b))
	task, env := w.Task(b, runtimetest.Module("ok")), w.Env(b)
	for b.Loop() {
		if _, err := w.Executor.Run(b.Context(), task, w.Limits, env); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFirstRun measures the first Run of a process: it creates a wazero runtime and loads
// the module from disk.
func BenchmarkFirstRun(b *testing.B) {
	dir := b.TempDir() + "/cache"
	for b.Loop() {
		e, err := New(b.Context(), Config{CacheDir: dir})
		if err != nil {
			b.Fatal(err)
		}
		w := runtimetest.NewHarness(e)
		if _, err := e.Run(b.Context(), w.Task(b, runtimetest.Module("ok")), w.Limits, w.Env(b)); err != nil {
			b.Fatal(err)
		}
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
