package wasm

import (
	"strconv"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// driver is a guest whose host calls a test makes one by one: a module that exports each host
// call of the ABI under its own name.
type driver struct {
	*runtimetest.Harness
	t   testing.TB
	run *run
	ctx *runContext
	mod api.Module
}

// driverModule returns a module that forwards every call of abi.Calls. Its memory has two
// pages.
func driverModule() []byte {
	a := &assembler{}
	a.memory(2)
	for _, c := range abi.Calls {
		var params []byte
		for _, p := range c.Params {
			params = append(params, byte(p.Type))
		}
		a.imp(abi.Module, c.Name, a.typ(params, []byte{tI64}))
	}
	for i, c := range abi.Calls {
		var code []byte
		for p := range c.Params {
			code = append(code, 0x20, byte(p))
		}
		a.fn(c.Name, uint32(i), append(code, 0x10, byte(i))...)
	}
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), 0x41, 0)
	return a.bytes()
}

// drive starts a driver over inputs. change may modify the Task and the limits first.
func drive(t testing.TB, w *runtimetest.Harness, change func(*job.Task), inputs ...cid.Cid) *driver {
	t.Helper()
	task := w.Task(t, driverModule(), inputs...)
	if change != nil {
		change(&task)
	}
	id, err := task.CID()
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.Executor.(*Executor).modules.get(t.Context(), task, w.Env(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.release)
	d := &driver{Harness: w, t: t}
	if d.run, err = newRun(t.Context(), id, task, w.Limits.OrDefault(), w.Env(t), m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.run.close)
	d.ctx = &runContext{experimental.WithMemoryAllocator(t.Context(), d.run.memory), d.run}
	if d.mod, err = d.run.instantiate(d.ctx, m, wazero.NewModuleConfig().WithName("").WithStartFunctions()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.mod.Close(t.Context()) })
	return d
}

// try makes a call and returns wazero's error.
func (d *driver) try(name string, args ...uint64) (int64, error) {
	res, err := d.mod.ExportedFunction(name).Call(d.ctx, args...)
	if err != nil {
		return 0, err
	}
	return int64(res[0]), nil
}

// call makes a call that must not end the run.
func (d *driver) call(name string, args ...uint64) int64 {
	d.t.Helper()
	n, err := d.try(name, args...)
	if err != nil {
		d.t.Fatalf("%s: %v", name, err)
	}
	return n
}

// want makes a call and checks its answer.
func (d *driver) want(want int64, name string, args ...uint64) {
	d.t.Helper()
	if got := d.call(name, args...); got != want {
		d.t.Errorf("%s%v = %s, want %s", name, args, answer(got), answer(want))
	}
}

// fails makes a call that must answer an errno.
func (d *driver) fails(want abi.Errno, name string, args ...uint64) {
	d.t.Helper()
	d.want(-int64(want), name, args...)
}

func answer(n int64) string {
	if n < 0 {
		return abi.Errno(-n).String()
	}
	return strconv.FormatInt(n, 10)
}

// put writes s to the guest's memory and returns its address and length.
func (d *driver) put(at uint32, s string) (ptr, n uint64) {
	d.t.Helper()
	if !d.mod.Memory().WriteString(at, s) {
		d.t.Fatalf("no room for %d bytes at %d", len(s), at)
	}
	return uint64(at), uint64(len(s))
}

// get reads n bytes of the guest's memory.
func (d *driver) get(at, n uint32) string {
	d.t.Helper()
	b, ok := d.mod.Memory().Read(at, n)
	if !ok {
		d.t.Fatalf("no %d bytes at %d", n, at)
	}
	return string(b)
}

// addBlock stores a block.
func addBlock(t testing.TB, w *runtimetest.Harness, codec uint64, data string) dag.Block {
	t.Helper()
	b := dag.NewBlock(codec, []byte(data))
	if err := w.Blocks.Put(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// cborLinks returns a dag-cbor block: a list of links.
func cborLinks(links ...cid.Cid) string {
	b := []byte{0x80 | byte(len(links))}
	for _, l := range links {
		b = append(b, 0xd8, 42)
		if n := byte(l.ByteLen() + 1); n < 24 {
			b = append(b, 0x40|n, 0)
		} else {
			b = append(b, 0x58, n, 0)
		}
		b = append(b, l.Bytes()...)
	}
	return string(b)
}
