package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// bomb is a module that makes a compiler use far more resources than its size suggests: how it
// is built, and the text of its refusal; "" if it is compiled.
type bomb struct {
	make func() []byte
	says string
}

// bombs are constructs that were measured to be expensive: the comments give what wazero took
// without a limit, on one core.
var bombs = map[string]bomb{
	"consecutive ifs":      {many(0, 27_000, 0x41, 0, 0x04, 0x40, 0x0b), "27000 blocks and conditional branches"}, // 20 s
	"nested ifs":           {nested(20_000, 0x41, 0, 0x04, 0x40), "20000 nested blocks"},                          // 10 s
	"nested loops":         {nested(8_000, 0x03, 0x40), "8000 loops"},                                             // 16 s
	"consecutive loops":    {many(0, 10_000, 0x03, 0x40, 0x0b), "10000 loops"},                                    // 5 s
	"conditional branches": {many(0, 30_000, 0x41, 0, 0x0d, 0), "30000 blocks and conditional"},
	"a br_table":           {many(0, 1, brTable(558_000)...), "558000 br_table targets"}, // 5 s, 828 MiB
	"br_tables":            {many(0, 1000, brTable(500)...), "500000 br_table targets"},  // 10 s, 1.1 GiB
	"half the br_table":    {many(0, 1, brTable(20_000)...), ""},
	"loads":                {many(0, 1_000_000, 0x41, 0, 0x28, 2, 0, 0x1a), "6000004 bytes"},              // did not end
	"loads and stores":     {many(0, 100_000, 0x41, 0, 0x41, 0, 0x28, 2, 0, 0x36, 2, 0), "MiB of memory"}, // 990 MiB
	"calls":                {many(0, 1_000_000, 0x10, 0, 0x1a), "3000004 bytes"},                          // 1.7 GiB
	"a long body":          {many(1, 170_000, 0x20, 0, 0x41, 1, 0x1a, 0x1a), ""},
	"locals":               {many(50_001, 0, 0), "50001 locals or more"},
	"most locals":          {many(50_000, 500, 0x41, 0, 0x04, 0x40, 0x0b), ""},
	"locals of all":        {functions(1_000, 50_000), "more than 5000000 locals in total"}, // 393 MiB
	"functions":            {functions(100_001, 0), "100001 functions"},
	"most functions":       {functions(50_000, 0), ""},
	"types":                {typed(1_000, 1_000, 1_000), "more than 100000 parameters and results in total"}, // 2.3 s
	"a wide type":          {typed(1, 1_001, 0), "more than 1000 parameters"},
	"blocks with values":   {blocksOf(600, 900), "parameters and results of blocks"}, // seconds
	"memory":               {sections(sectionMemory, cat([]byte{1, 0}, u32(1<<17))), "131072 to"},
	"elements":             {sections(sectionElement, make([]byte, maxElementBytes+2)), "element section"},
	"element segments":     {sections(sectionElement, u32(100_001)), "100001 items"},
	"data segments":        {sections(sectionData, u32(1<<31)), "2147483648 items"},
	"imports":              {flood, "more than 1000 imports"},
	"a long name":          {func() []byte { a := guest(0x41, 0); a.imp(strings.Repeat("x", 1<<20), "y", 0); return a.bytes() }, "name of 1048576 bytes"},
	"an overlong size":     {func() []byte { return cat(guest().bytes()[:8], []byte{1}, bytes.Repeat([]byte{0x80}, 1<<20)) }, "longer than the format allows"},
	"most consecutive ifs": {many(0, 16_000, 0x41, 0, 0x04, 0x40, 0x0b), "compiling the module takes more than"},                    // 6 s
	"most ifs with sets":   {many(20, 15_000, 0x41, 0, 0x04, 0x40, 0x41, 1, 0x21, 0, 0x0b), "compiling the module takes more than"}, // 6 s
	"most loops":           {nested(1_000, 0x03, 0x40), ""},
	"a truncated br_table": {many(0, 1, 0x41, 0, 0x0e, 0xff, 0xff, 0xff, 0xff, 0x0f), "4294967295 br_table targets"},
}

// many returns a module with one function, which has locals and repeats code n times.
func many(locals uint32, n int, code ...byte) func() []byte {
	return func() []byte {
		a := guest()
		groups := []byte{0}
		if locals > 0 {
			groups = cat([]byte{1}, u32(locals), []byte{tI32})
		}
		a.sections[sectionCode][0] = vec(cat(groups, bytes.Repeat(code, n), []byte{0x41, 0, 0x0b}))
		return a.bytes()
	}
}

func nested(n int, code ...byte) func() []byte {
	return many(0, 1, cat(bytes.Repeat(code, n), bytes.Repeat([]byte{0x0b}, n))...)
}

func brTable(targets int) []byte {
	return cat([]byte{0x02, 0x40, 0x41, 0, 0x0e}, u32(uint32(targets)), make([]byte, targets+1), []byte{0x0b})
}

// functions returns a module of n functions with the given number of locals each.
func functions(n int, locals uint32) func() []byte {
	return func() []byte {
		a := guest(0x41, 0)
		typ := a.typ(nil, nil)
		body := vec(cat([]byte{1}, u32(locals), []byte{tI32, 0x0b}))
		for range n - 1 {
			a.add(sectionFunction, u32(typ)...)
			a.sections[sectionCode] = append(a.sections[sectionCode], body)
		}
		return a.bytes()
	}
}

func typed(n, params, results int) func() []byte {
	return func() []byte {
		a := guest(0x41, 0)
		for range n {
			a.typ(bytes.Repeat([]byte{tI32}, params), bytes.Repeat([]byte{tI32}, results))
		}
		return a.bytes()
	}
}

// blocksOf returns a function of n loops that take and return values.
func blocksOf(n, values int) func() []byte {
	return func() []byte {
		ts := bytes.Repeat([]byte{tI32}, values)
		a := guest(cat(
			[]byte{0x02, 0x40}, bytes.Repeat([]byte{0x41, 0}, values), bytes.Repeat([]byte{0x03, 1, 0x0b}, n),
			[]byte{0x0c, 0, 0x0b, 0x41, 0},
		)...)
		a.typ(ts, ts)
		return a.bytes()
	}
}

func sections(id byte, body []byte) func() []byte {
	return func() []byte { return cat([]byte("\x00asm\x01\x00\x00\x00"), section(id, body)) }
}

func flood() []byte {
	a := &assembler{}
	typ := a.typ(nil, []byte{tI64})
	for range 1_001 {
		a.imp("liftoff_v1", "input_count", typ)
	}
	a.memory(1)
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), 0x41, 0)
	return a.bytes()
}

// bombFiles lists the small bombs, in testdata/bombs.
func bombFiles() ([]string, error) { return filepath.Glob("testdata/bombs/*.wasm") }

// bombReport is the report of the process that admits a bomb.
type bombReport struct {
	Refused, Fault string
	Took           time.Duration
	Self, Compiler int64 // peak resident bytes: of the process, and of the child that it started
}

// admitBomb is the main function of a process that treats one bomb as an Executor treats an
// untrusted module.
func admitBomb(name string) int {
	dir, err := os.MkdirTemp("", "bomb")
	if err != nil {
		return 1
	}
	defer os.RemoveAll(dir)
	module, err := os.ReadFile(name)
	if b, ok := bombs[name]; ok {
		module, err = b.make(), nil
	}
	if err != nil {
		return 1
	}
	ctx := context.Background()
	blocks := &dag.MemBlocks{}
	entry, err := dag.AddFile(ctx, blocks, bytes.NewReader(module), dag.UnixFSv1)
	if err != nil {
		return 1
	}
	e, err := New(ctx, Config{CacheDir: dir + "/cache", Compiler: testCompiler("right")})
	if err != nil {
		return 1
	}
	defer e.Close()
	t := job.Task{ABI: job.ABILiftoff, Mod: entry.CID, Fn: "liftoff_run", Out: job.OutProfile, Det: job.Det2}
	start := time.Now()
	err = e.Check(ctx, t, job.Limits{}.OrDefault(), runtime.Env{Blocks: blocks})
	r := bombReport{Took: time.Since(start)}
	var refused *runtime.RefusedError
	if errors.As(err, &refused) {
		r.Refused = refused.Reason
	} else if err != nil {
		r.Fault = err.Error()
	}
	r.Self, r.Compiler = resident(syscall.RUSAGE_SELF), resident(syscall.RUSAGE_CHILDREN)
	json.NewEncoder(os.Stdout).Encode(r)
	return 0
}

// TestBombs admits each bomb in its own process, and measures that process.
func TestBombs(t *testing.T) {
	if underRace {
		t.Skip("SKIPPED: the measurement would include the race detector's memory")
	}
	files, err := bombFiles()
	if err != nil || len(files) == 0 {
		t.Fatalf("no bombs in testdata: %v", err)
	}
	names := files
	for name := range bombs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			argv := testCompiler("bomb:" + name)
			out, err := exec.Command(argv[0], argv[1:]...).Output()
			var r bombReport
			if err == nil {
				err = json.Unmarshal(out, &r)
			}
			if err != nil {
				t.Fatal(err)
			}
			says := bombs[name].says
			if r.Fault != "" || !strings.Contains(r.Refused, says) || says == "" && bombs[name].make != nil && r.Refused != "" || slices.Contains(files, name) && r.Refused == "" {
				t.Errorf("refused %q, fault %q, want %q", r.Refused, r.Fault, says)
			}
			const most = 250 << 20 // measured: below 200 MiB, and 2 s of processor time
			if r.Self > most || r.Compiler > most || r.Took > time.Minute {
				t.Errorf("it took %v, %d MiB, the compiler %d MiB", r.Took, r.Self>>20, r.Compiler>>20)
			}
			t.Logf("%v, %d MiB, compiler %d MiB: %s", r.Took.Round(time.Millisecond), r.Self>>20, r.Compiler>>20, r.Refused)
		})
	}
}

// TestLargeReal compiles the programs that LIFTOFF_TEST_MODULES lists as untrusted modules.
func TestLargeReal(t *testing.T) {
	paths := os.Getenv("LIFTOFF_TEST_MODULES")
	if paths == "" {
		t.Skip("LIFTOFF_TEST_MODULES lists no modules")
	}
	for _, path := range filepath.SplitList(paths) {
		module, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		e := open(t, Config{CacheDir: t.TempDir() + "/cache", Compiler: testCompiler("right")})
		start := time.Now()
		if err := compileUntrusted(t.Context(), e, module); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		t.Logf("%s: %v", path, time.Since(start))
	}
}

// compileUntrusted processes a module like an Executor, except for its imports and exports:
// many programs are built for another host.
func compileUntrusted(ctx context.Context, e *Executor, module []byte) error {
	rt, err := e.engine.runtime(ctx)
	if err != nil {
		return err
	}
	s, err := scanModule(module)
	if err != nil {
		return err
	}
	if _, err := s.checkCode(); err != nil {
		return err
	}
	if module, err = closeTables(module, s); err != nil {
		return err
	}
	if module, err = rewrite(module); err != nil {
		return err
	}
	_, err = e.engine.compile(ctx, rt, "untrusted", module, false)
	return err
}

// TestLargeGenerated compiles a module with 30 MiB of code in 30,000 functions.
func TestLargeGenerated(t *testing.T) {
	if os.Getenv("LIFTOFF_TEST_LARGE") == "" {
		t.Skip("LIFTOFF_TEST_LARGE is not set: the test takes half a minute")
	}
	a := guest(0x41, 0)
	typ := a.typ(nil, nil)
	body := vec(cat([]byte{1, 1, tI32}, bytes.Repeat([]byte{0x20, 0, 0x41, 1, 0x6a, 0x21, 0}, 145), []byte{0x0b}))
	for range 30_000 {
		a.add(sectionFunction, u32(typ)...)
		a.sections[sectionCode] = append(a.sections[sectionCode], body)
	}
	if err := check(t, t.Context(), openApart(t, t.TempDir()+"/cache", "right"), a.bytes(), false); err != nil {
		t.Error(err)
	}
}

// TestWriteBombs checks that the small bombs in testdata are what this test builds.
func TestWriteBombs(t *testing.T) {
	head := []byte("\x00asm\x01\x00\x00\x00")
	for name, module := range map[string][]byte{
		"table-10m":     cat(head, section(sectionTable, cat([]byte{1, 0x70, 0}, u32(10_000_000)))),
		"table-max":     cat(head, section(sectionTable, cat([]byte{1, 0x70, 1, 0}, u32(1<<32-1)))),
		"tables-10m":    cat(head, section(sectionTable, u32(10_000_000))),
		"locals-4g":     many(1<<32-1, 1, 0x01)(),
		"memory-4g":     cat(head, section(sectionMemory, cat([]byte{1, 0}, u32(1<<16)))),
		"types-4g":      cat(head, section(sectionType, u32(1<<32-1))),
		"params-4g":     cat(head, section(sectionType, cat([]byte{1, 0x60}, u32(1<<32-1)))),
		"br-table-4g":   many(0, 1, cat([]byte{0x41, 0, 0x0e}, u32(1<<32-1))...)(),
		"leb-too-long":  cat(head, []byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}),
		"leb-overflow":  cat(head, []byte{1, 0xff, 0xff, 0xff, 0xff, 0x7f}),
		"section-short": cat(head, []byte{1, 5, 1, 0x60, 0, 1}),
		"section-long":  cat(head, []byte{1, 5, 1, 0x60, 0, 0, 0}),
		"body-short":    guest(0x41, 0).bytes()[:len(guest(0x41, 0).bytes())-1],
		"body-no-end":   many(0, 1, 0x02, 0x40)(),
		"name-no-utf8":  cat(head, section(sectionExport, []byte{1, 2, 0xff, 0xfe, 0, 0})),
		"tail-calls":    guest(0x12, 0).bytes(),
		"relaxed-simd":  guest(0xfd, 0x80, 0x02).bytes(),
		"shared-memory": cat(head, section(sectionMemory, []byte{1, 3, 1, 1})),
	} {
		path := fmt.Sprintf("testdata/bombs/%s.wasm", name)
		if os.Getenv("LIFTOFF_WRITE_BOMBS") != "" {
			if err := os.WriteFile(path, module, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, module) {
			t.Errorf("%s is outdated (%v); LIFTOFF_WRITE_BOMBS=1 rewrites it", path, err)
		}
	}
}
