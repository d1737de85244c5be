package wasm

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// wantRefused checks that err is a refusal that contains says.
func wantRefused(t *testing.T, err error, says string) {
	t.Helper()
	var refused *runtime.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, says) {
		t.Errorf("error %v, want a refusal that says %q", err, says)
	}
}

func TestInspect(t *testing.T) {
	for module, want := range map[string][2]string{
		"ok": {job.ABILiftoff, abi.ExportRun}, "print": {job.ABIWASI, abi.ExportStart},
	} {
		tabi, fn, err := Inspect(runtimetest.Module(module))
		if err != nil || tabi != want[0] || fn != want[1] {
			t.Errorf("%s: %q %q %v, want %q", module, tabi, fn, err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	i32 := []byte{tI32}
	with := func(f func(*assembler)) []byte {
		a := guest(0x41, 0)
		f(a)
		return a.bytes()
	}
	raw := func(id int, items ...[]byte) []byte {
		return with(func(a *assembler) { a.sections[id] = append(a.sections[id], items...) })
	}
	// wide returns a module whose section id claims n items and holds none.
	wide := func(id byte, n uint32) []byte { return cat([]byte("\x00asm\x01\x00\x00\x00"), section(id, u32(n))) }
	many := func(n int, item []byte) [][]byte {
		items := make([][]byte, n)
		for i := range items {
			items[i] = item
		}
		return items
	}
	for _, c := range []struct {
		name   string
		module []byte
		says   string
	}{
		{"empty", nil, "empty"},
		{"text", []byte("hello, world, this is not a module at all"), "text"},
		{"wat", []byte("  (module (memory 1))"), "wat2wasm"},
		{"elf", []byte("\x7fELF\x02\x01\x01"), "native"},
		{"png", []byte("\x89PNG\r\n\x1a\n\x00\x00\xff\xff"), "not a WebAssembly module"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00\x07"), "component"},
		{"version", []byte("\x00asm\x02\x00\x00\x00"), "version"},
		{"magic alone", []byte("\x00asm"), "truncated"},
		{"exception tags", cat(guest().bytes(), section(13, []byte{0})), "unknown kind 13"},
		{"section twice", cat(guest(0x41, 0).bytes(), section(sectionType, []byte{0})), "out of order"},
		{"no exports", wide(sectionType, 0), `missing export: memory "memory"`},
		{"no memory", with(func(a *assembler) {
			a.sections[sectionMemory] = nil
			a.sections[sectionExport] = a.sections[sectionExport][1:]
		}), `missing export: memory "memory"`},
		{"memory that is a function", with(func(a *assembler) {
			a.sections[sectionExport][0] = cat(vec([]byte("memory")), []byte{kindFunc, 0})
		}), `missing export: memory "memory"`},
		{"no entry", with(func(a *assembler) { a.sections[sectionExport] = a.sections[sectionExport][:1] }), `function "liftoff_run" or "_start"`},
		{"entry of another type", with(func(a *assembler) { a.sections[sectionType][0] = cat([]byte{0x60}, vec(nil), vec([]byte{tI64})) }), "got type () -> (i64), want () -> (i32)"},
		{"initialize of another type", with(func(a *assembler) { a.fn("_initialize", 0, 0x41, 0) }), `"_initialize": got type`},
		{"threads", with(func(a *assembler) { a.sections[sectionMemory] = [][]byte{{3, 1, 1}} }), "threads"},
		{"memory64", with(func(a *assembler) { a.sections[sectionMemory] = [][]byte{{4, 1}} }), "64-bit"},
		{"two memories", raw(sectionMemory, []byte{0, 1}), "more than one memory"},
		{"memory over 4 GiB", with(func(a *assembler) { a.sections[sectionMemory] = [][]byte{cat([]byte{0}, u32(65537))} }), "65537"},
		{"imported memory", raw(sectionImport, cat(vec([]byte("env")), vec([]byte("memory")), []byte{kindMemory, 0, 1})), `import of memory "env"."memory"`},
		{"imported table", raw(sectionImport, cat(vec([]byte("env")), vec([]byte("t")), []byte{kindTable, 0x70, 0, 1})), "import of table"},
		{"imported global", raw(sectionImport, cat(vec([]byte("env")), vec([]byte("g")), []byte{kindGlobal, tI32, 0})), "import of global"},
		{"10 million tables", wide(sectionTable, 10_000_000), "10000000 items"},
		{"101 tables", raw(sectionTable, many(101, []byte{0x70, 0, 0})...), "more than 100 tables"},
		{"a large table", raw(sectionTable, cat([]byte{0x70, 0}, u32(20_002))), "20002 entries, want at most 20001"},
		{"a table with a large maximum", raw(sectionTable, cat([]byte{0x70, 1, 0}, u32(1<<31))), "2147483648 entries"},
		{"functions", wide(sectionFunction, 100_001), "100001 functions, want at most 100000"},
		{"types", wide(sectionType, 1<<32-1), "items"},
		{"globals", wide(sectionGlobal, 100_001), "100001 items"},
		{"locals", with(func(a *assembler) {
			a.sections[sectionCode][0] = vec(cat([]byte{2}, u32(25_000), i32, u32(25_001), i32, []byte{0x41, 0, 0x0b}))
		}), `function 0 ("liftoff_run"): 50001 locals or more, want at most 50000`},
		{"locals that wrap", with(func(a *assembler) {
			a.sections[sectionCode][0] = vec(cat([]byte{2}, u32(1<<32-1), i32, u32(1), i32, []byte{0x41, 0, 0x0b}))
		}), "locals"},
		{"a body too few", with(func(a *assembler) { a.sections[sectionCode] = [][]byte{} }), "0 bodies for 1 functions"},
		{"elements", cat([]byte("\x00asm\x01\x00\x00\x00"), section(sectionElement, make([]byte, maxElementBytes+2))), "element section"},
		{"bad instruction", guest(0xff).bytes(), "not a valid module"},
		{"stack underflow", guest(0x6a).bytes(), "not a valid module"},
		{"atomic", guest(0x41, 0, 0xfe, 0x10, 2, 0).bytes(), "instruction 0xfe (threads) is not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := runtimetest.NewHarness(shared(t))
			wantRefused(t, w.Executor.Check(t.Context(), w.Task(t, c.module), w.Limits, w.Env(t)), c.says)
		})
	}
}

func TestRefusedImports(t *testing.T) {
	for _, c := range []struct {
		module, name    string
		params, results []byte
		says            string
	}{
		{"env", "foo", []byte{tI32}, []byte{tI64}, `unknown import "env"."foo" of type (i32) -> (i64)`},
		{abi.Module, "open", []byte{tI32}, []byte{tI64}, `unknown import "liftoff_v1"."open"`},
		{"liftoff_v2", "args", nil, nil, `unknown import "liftoff_v2"."args"`},
		{abi.Module, "kind", []byte{tI64}, []byte{tI64}, `import "liftoff_v1"."kind": got type (i64) -> (i64), want (i32) -> (i64)`},
		{wasiModule, "fd_write", nil, []byte{tI32}, `"fd_write": got type () -> (i32)`},
		{wasiModule, "fd_weite", nil, []byte{tI32}, `unknown import "wasi_snapshot_preview1"."fd_weite"`},
	} {
		a := &assembler{}
		a.imp(c.module, c.name, a.typ(c.params, c.results))
		a.memory(1)
		a.fn("liftoff_run", a.typ(nil, []byte{tI32}), 0x41, 0)
		w := runtimetest.NewHarness(shared(t))
		wantRefused(t, w.Executor.Check(t.Context(), w.Task(t, a.bytes()), w.Limits, w.Env(t)), c.says)
	}
}

// TestTruncated truncates a module at every byte: each truncated module is refused, without a
// panic.
func TestTruncated(t *testing.T) {
	whole := runtimetest.Module("copy")
	for n := range len(whole) {
		if s, err := scanModule(whole[:n]); err == nil && s.checkExports(job.ABILiftoff, abi.ExportRun) == nil && len(s.funcs) > 5 {
			// Only a cut between the sections after the code leaves a whole module.
			if !bytes.Contains(whole[n:], []byte("name")) {
				t.Errorf("a module truncated to %d of %d bytes is accepted", n, len(whole))
			}
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, name := range []string{"ok", "copy", "print", "unknown"} {
		f.Add(runtimetest.Module(name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := scanModule(b)
		if err != nil {
			var refused *runtime.RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("error %v, want a refusal", err)
			}
			return
		}
		if _, err := s.checkCode(); err != nil {
			var refused *runtime.RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("error %v, want a refusal", err)
			}
		}
		if b, err = closeTables(b, s); err != nil {
			t.Fatal(err)
		}
		if s, err = scanModule(b); err == nil && s.openTable {
			t.Fatal("table without a maximum after closeTables")
		}
	})
}

func TestModuleSize(t *testing.T) {
	e := open(t, Config{MaxModule: 100})
	w := runtimetest.NewHarness(e)
	wantRefused(t, e.Check(t.Context(), w.Task(t, runtimetest.Module("copy")), w.Limits, w.Env(t)), "at most 100")
}

// TestLargeModule runs a module of 30 MiB.
func TestLargeModule(t *testing.T) {
	a := guest(0x41, 7)
	a.add(sectionData, cat([]byte{1}, vec(make([]byte, 30<<20)))...)
	w := runtimetest.NewHarness(shared(t))
	if o := w.Run(t, w.Task(t, a.bytes())).Outcome; o.State != job.Exit || o.Code != 7 {
		t.Errorf("outcome %+v", o)
	}
}

// TestTableGrowth lets a guest grow a table that declares no maximum.
func TestTableGrowth(t *testing.T) {
	// Grow by 20,001, the most that one function allows, then by one more: -1.
	a := guest(cat(
		[]byte{0xd0, 0x70, 0x41}, sleb(20_001), []byte{0xfc, 15, 0, 0x1a},
		[]byte{0xd0, 0x70, 0x41, 1, 0xfc, 15, 0, 0x41, 0x7f, 0x47},
	)...)
	a.add(sectionTable, 0x70, 0, 0)
	w := runtimetest.NewHarness(shared(t))
	if o := w.Run(t, w.Task(t, a.bytes())).Outcome; o.State != job.OK {
		t.Errorf("outcome %+v", o)
	}
}

// sleb writes v, which is not negative, as a signed LEB128.
func sleb(v uint32) []byte {
	b := appendU32(nil, v)
	if b[len(b)-1]&0x40 != 0 {
		b[len(b)-1] |= 0x80
		b = append(b, 0)
	}
	return b
}
