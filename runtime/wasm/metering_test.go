package wasm

import (
	"errors"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// fuelOf returns the fuel of a guest that ends with state ok.
func fuelOf(t *testing.T, w *runtimetest.Harness, a *assembler) uint64 {
	t.Helper()
	o := w.Run(t, taskOf(t, w, a)).Outcome
	if o.State != job.OK {
		t.Fatalf("%s %d", o.State, o.Code)
	}
	return o.Fuel
}

// TestInstructionPrices compares the cost of instructions with the prices of the ABI, in both
// engines.
func TestInstructionPrices(t *testing.T) {
	i32c := func(v uint32) []byte { return cat([]byte{0x41}, sleb(v)) }
	zero := i32c(0)
	for name, cfg := range map[string]Config{"compiler": {}, "interpreter": {interpreter: true}} {
		w := runtimetest.NewHarness(open(t, cfg))
		for _, c := range []struct {
			name string
			code []byte // leaves nothing on the stack
			want uint64
		}{
			{"nothing", nil, 0},
			{"nop", []byte{0x01}, 0},
			{"const, drop", cat(zero, []byte{0x1a}), 2 * abi.FuelInstruction},
			{"empty block", []byte{0x02, 0x40, 0x0b}, 0},
			{"if not taken", cat(zero, []byte{0x04, 0x40}, zero, []byte{0x1a, 0x0b}), 2 * abi.FuelInstruction},
			{"call", []byte{0x10, 1}, abi.FuelCallDirect},
			{"call_indirect", cat(zero, []byte{0x11, 1, 0}), 1 + abi.FuelCallIndirect},
			{"ref.func", []byte{0xd2, 1, 0x1a}, 2 * abi.FuelInstruction},
			{"table.grow", cat([]byte{0xd0, 0x70}, i32c(7), []byte{0xfc, 15, 0, 0x1a}), 3 + abi.FuelLeave + 7},
			{"memory.grow", cat(i32c(3), []byte{0x40, 0, 0x1a}), 3 + 3*abi.FuelPage},
			{"memory.grow beyond the maximum", cat(i32c(70000), []byte{0x40, 0, 0x1a}), 3},
			{"memory.fill", cat(zero, zero, i32c(65536), []byte{0xfc, 11, 0}), 4 + 65536/abi.FuelBulkBytes},
			{"memory.copy", cat(zero, zero, i32c(800), []byte{0xfc, 10, 0, 0}), 4 + 800/abi.FuelBulkBytes},
		} {
			a := guest(cat(c.code, zero)...)
			a.fn("", a.typ(nil, nil), 0x01) // a nop, which is free
			a.add(sectionTable, 0x70, 0, 2)
			a.add(sectionElement, 0, 0x41, 0, 0x0b, 1, 1)
			base := fuelOf(t, w, guest(zero...))
			want := base + c.want
			if got := fuelOf(t, w, a); got != want {
				t.Errorf("%s, %s: %d fuel, want %d", name, c.name, got, want)
			}
		}
	}
}

// TestCallPrices compares the cost of host calls with the table in docs/abi.md.
func TestCallPrices(t *testing.T) {
	const kib = 1 << 10
	w := newHarness(t)
	text := w.Add(t, []byte(strings.Repeat("0123456789abcdef", 3*64*kib))) // 3 MiB, three leaves
	e, err := dag.OpenFile(t.Context(), &w.Blocks, text)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dir := dag.NewDirWriter(&w.Blocks, dag.UnixFSv1)
	if err := dir.Add("file", dag.Entry{CID: text, Size: uint64(e.Size())}); err != nil {
		t.Fatal(err)
	}
	folder, err := dir.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw := addBlock(t, w, cid.Raw, strings.Repeat("x", 1000)).CID()
	link, err := dag.AddSymlink(t.Context(), &w.Blocks, "to/where", dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	d := drive(t, w, func(task *job.Task) {
		task.Args = []string{strings.Repeat("a", 99)} // 100 bytes
		task.In[1].Name = "folder"
	}, text, folder.CID, raw, link.CID)
	path, pathLen := d.put(60*kib, "file")
	name, nameLen := d.put(61*kib, "a/b")
	child, childLen := d.put(62*kib, string(text.Bytes()))

	const (
		file, dirH, rawH, linkH = 0, 1, 2, 3
		call                    = abi.FuelCall
		block                   = abi.FuelBlock
	)
	for _, c := range []struct {
		name string
		args []uint64
		want uint64 // in addition to FuelCall
	}{
		{"input_count", nil, 0},
		{"input_name", []uint64{1, 0, 100}, 1}, // 6 bytes
		{"input_name", []uint64{99, 0, 100}, 0},
		{"args", []uint64{0, 0}, 0},
		{"args", []uint64{0, 64}, 4},
		{"args", []uint64{0, 4 * kib}, 7},
		{"env", []uint64{0, 4 * kib}, 0},
		{"cid", []uint64{file, 0, 100}, 3}, // 36 bytes
		{"codec", []uint64{file}, 0},
		{"kind", []uint64{file}, block},
		{"block_read", []uint64{rawH, 0, 0, 0}, block},
		{"block_read", []uint64{rawH, 10, 0, 4 * kib}, block + 62}, // 990 bytes
		{"block_read", []uint64{99, 10, 0, 4 * kib}, 0},
		{"block_write", []uint64{cid.Raw, 0, 1600}, 1600 + 100},
		{"file_read", []uint64{file, 0, 0, 0}, block}, // its size
		{"file_read", []uint64{file, 0, 0, 1600}, block + 100},
		{"file_read", []uint64{file, 1<<20 - 16, 0, 32}, 2*block + 2},
		{"file_read", []uint64{file, 3 << 20, 0, 32}, block},
		{"file_create", nil, 0},
		{"link_count", []uint64{file}, block},
		{"link", []uint64{file, 1}, block},
		{"child", []uint64{dirH, child, childLen}, block},
		{"child", []uint64{dirH, child, 5}, 0}, // no CID
		{"resolve", []uint64{dirH, path, pathLen}, block},
		{"dir_next", []uint64{dirH, 0, 0, 100}, abi.FuelEntry + 1},
		{"dir_next", []uint64{dirH, 1, 0, 100}, abi.FuelEntry}, // end of the directory
		{"readlink", []uint64{linkH, 0, 100}, block + 1},
		{"output", []uint64{rawH, name, nameLen}, 2*abi.FuelEntry + block},
		{"hash", []uint64{0x12, 0, 50 * kib, 55 * kib, 32}, 50*kib + 2},
		{"hash", []uint64{0x99, 0, 50 * kib, 55 * kib, 32}, 0},
		{"log", []uint64{0, 0, 160}, 160 + 10},
		{"progress", []uint64{1, 2}, 0},
		{"close", []uint64{rawH}, 0},
	} {
		for range 2 { // a repeated call costs the same
			before := d.run.fuel.Spent()
			d.call(c.name, c.args...)
			got := d.run.fuel.Spent() - before
			// The driver's function reads its parameters and makes the call.
			if want := call + c.want + uint64(len(c.args))*abi.FuelInstruction + abi.FuelCallDirect; got != want && c.name != "close" {
				t.Errorf("%s%v costs %d, want %d", c.name, c.args, got, want)
			}
			if c.name == "output" {
				break
			}
		}
	}
	h := uint64(d.call("file_create"))
	before := d.run.fuel.Spent()
	d.call("file_write", h, 0, 1600)
	if got := d.run.fuel.Spent() - before; got != call+1600+100+3+abi.FuelCallDirect {
		t.Errorf("file_write costs %d", got)
	}
}

// TestFuelLimit runs guests with exactly the fuel that they need, and with one unit less.
func TestFuelLimit(t *testing.T) {
	w := newHarness(t)
	in := w.Add(t, []byte(strings.Repeat("in", 100_000)))
	for _, name := range []string{"ok", "copy", "sole", "growmax", "print", "trap", "exit"} {
		task := w.Task(t, runtimetest.Module(name), in)
		w.Limits.Fuel = 0
		free := w.Run(t, task).Outcome
		if free.Fuel == 0 {
			t.Errorf("%s: no fuel was spent", name)
			continue
		}
		w.Limits.Fuel = free.Fuel
		enough := w.Run(t, task).Outcome
		a, _ := free.CID()
		if b, _ := enough.CID(); a != b {
			t.Errorf("%s: Outcome depends on the limit: %+v and %+v", name, free, enough)
		}
		for _, limit := range []uint64{free.Fuel - 1, free.Fuel / 2, 1} {
			if limit == 0 || limit >= free.Fuel { // 0 means the default
				continue
			}
			w.Limits.Fuel = limit
			o := w.Run(t, task).Outcome
			if o.State != job.OutOfFuel || o.Fuel != limit || o.Limits == nil || o.Limits.Fuel != limit || o.Root != w.EmptyDir(t) {
				t.Errorf("%s with %d of %d fuel: %+v", name, limit, free.Fuel, o)
			}
		}
	}
}

// TestOutOfFuel limits guests that never end.
func TestOutOfFuel(t *testing.T) {
	start := guest(0x41, 0)
	start.start = u32(start.fn("", start.typ(nil, nil), 0x03, 0x40, 0x0c, 0, 0x0b))
	for name, module := range map[string][]byte{
		"loop": runtimetest.Module("spin"), "host calls": runtimetest.Module("calls"), "start function": start.bytes(),
		"recursion": guest(0x10, 0, 0x1a, 0x10, 0).bytes(), // a trap would take as much of it
	} {
		for _, limit := range []uint64{1, 1000, 10_000_000} {
			engines := []Config{{}, {interpreter: true}}
			if name == "recursion" {
				engines = engines[:1] // the interpreter's own stack is full first
			}
			if name == "recursion" && limit > 1000 {
				continue // the guest's stack is full first
			}
			var first cid.Cid
			for i, cfg := range engines {
				w := runtimetest.NewHarness(open(t, cfg))
				w.Limits.Fuel = limit
				o := w.Run(t, w.Task(t, module)).Outcome
				if o.State != job.OutOfFuel || o.Fuel != limit {
					t.Errorf("%s with %d fuel: %+v", name, limit, o)
				}
				if c, _ := o.CID(); i == 0 {
					first = c
				} else if c != first {
					t.Errorf("%s with %d fuel, interpreted: %+v", name, limit, o)
				}
			}
		}
	}
}

// TestEnginesAgree runs guests in wazero's compiler and in its interpreter: the Outcomes are
// equal, fuel included.
func TestEnginesAgree(t *testing.T) {
	compiled, interpreted := newHarness(t), runtimetest.NewHarness(open(t, Config{interpreter: true}))
	for _, name := range []string{"ok", "exit", "trap", "copy", "sole", "print", "grow", "growmax", "logs", "blocks"} {
		var os [2]job.Outcome
		for i, w := range []*runtimetest.Harness{compiled, interpreted} {
			w.Limits = job.Limits{Pages: 20, Log: 1 << 10, Out: 1 << 20}
			os[i] = w.Run(t, w.Task(t, runtimetest.Module(name), w.Add(t, []byte("input")))).Outcome
		}
		a, _ := os[0].CID()
		if b, _ := os[1].CID(); a != b {
			t.Errorf("%s: compiled %+v, interpreted %+v", name, os[0], os[1])
		}
	}
}

// TestEngineStack overflows the interpreter's stack before the guest's is full: that is a
// machine fault and not an Outcome.
func TestEngineStack(t *testing.T) {
	w := runtimetest.NewHarness(open(t, Config{interpreter: true}))
	_, err := w.Executor.Run(t.Context(), w.Task(t, guest(0x10, 0).bytes()), w.Limits, w.Env(t))
	if err == nil || !strings.Contains(err.Error(), "stack overflow") || errors.Is(err, errStack) {
		t.Errorf("error %v", err)
	}
}

// TestReservedNames refuses modules whose names collide with those of the metering.
func TestReservedNames(t *testing.T) {
	a := guest(0x41, 0)
	a.fn("liftoff:meter.fuel", 0, 0x41, 0)
	w := newHarness(t)
	_, err := w.Executor.Run(t.Context(), w.Task(t, a.bytes()), w.Limits, w.Env(t))
	wantRefused(t, err, "reserved")
	b := &assembler{}
	b.imp("liftoff:meter", "grow", b.typ([]byte{tI64}, nil))
	b.memory(1)
	b.fn("liftoff_run", b.typ(nil, []byte{tI32}), 0x41, 0)
	_, err = w.Executor.Run(t.Context(), w.Task(t, b.bytes()), w.Limits, w.Env(t))
	wantRefused(t, err, "unknown import")
}
