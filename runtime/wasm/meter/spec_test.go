package meter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// The official WebAssembly tests, in the compiled form that wazero contains. Each script runs
// twice, with the original modules and with rewritten ones, and every command must have the
// same result, NaN bits aside: those must be canonical in the rewritten run.

type specCommand struct {
	Type, Name, Filename, As, Text string
	Line                           int
	ModuleType                     string `json:"module_type"`
	Action                         struct {
		Type, Field, Module string
		Args                []specValue
	}
	Expected []specValue
}

type specValue struct {
	Type     string
	LaneType string `json:"lane_type"`
	Value    any    // string, []any of strings for lanes, nil for any reference
}

// lanes returns v's lanes as decimal numbers or nan:canonical, nan:arithmetic, and their width
// in bits.
func (v specValue) lanes() ([]string, int) {
	width := map[string]int{"i8": 8, "i16": 16, "i32": 32, "f32": 32, "i64": 64, "f64": 64}
	if v.Type != "v128" {
		s, _ := v.Value.(string)
		if w, ok := width[v.Type]; ok {
			return []string{s}, w
		}
		return []string{s}, 64
	}
	var s []string
	for _, l := range v.Value.([]any) {
		s = append(s, l.(string))
	}
	return s, width[v.LaneType]
}

// words returns v as the engine passes it: one word, or two for a vector.
func (v specValue) words() []uint64 {
	lanes, width := v.lanes()
	words := make([]uint64, (len(lanes)*width+63)/64)
	if len(words) == 0 {
		words = make([]uint64, 1)
	}
	for i, l := range lanes {
		if v.Value == nil || l == "null" {
			continue
		}
		n, err := strconv.ParseUint(l, 10, 64)
		if strings.HasPrefix(l, "-") {
			var s int64
			s, err = strconv.ParseInt(l, 10, 64)
			n = uint64(s) & (1<<(width-1)<<1 - 1)
		}
		if err != nil {
			panic(err)
		}
		if v.Type == "externref" {
			n++ // the engine's null is 0
		}
		words[i*width/64] |= n << (i * width % 64)
	}
	return words
}

// match returns how got differs from v; "" if it does not.
func (v specValue) match(got []uint64) string {
	if v.Value == nil || v.Type == "funcref" {
		return ""
	}
	lanes, width := v.lanes()
	for i, l := range lanes {
		n := got[i*width/64] >> (i * width % 64) & (1<<(width-1)<<1 - 1)
		switch {
		case strings.HasPrefix(l, "nan:"):
			nan, sign := uint64(0x7fc00000), uint64(1<<31)
			if width == 64 {
				nan, sign = 0x7ff8000000000000, 1<<63
			}
			if n&^sign == nan && n != nan {
				return "negative NaN"
			} else if n != nan {
				return fmt.Sprintf("lane %d: got %x, want the canonical NaN", i, n)
			}
		default:
			one := v
			one.Value = l
			if v.Type == "v128" {
				one.Type, one.Value = v.LaneType, l
				if width < 32 {
					one.Type = "i32"
				}
			}
			if want := one.words()[0] & (1<<(width-1)<<1 - 1); n != want {
				return fmt.Sprintf("lane %d: got %x, want %x", i, n, want)
			}
		}
	}
	return ""
}

// specRun runs one script.
type specRun struct {
	t       *testing.T
	e       *engine
	valid   wazero.Runtime // validates the originals
	dir     string
	rewrite bool
	last    api.Module
	named   map[string]api.Module
	all     []api.Module
}

// load compiles a module and instantiates it; the original must be valid first.
func (s *specRun) load(file, name string) (api.Module, error) {
	ctx := s.t.Context()
	b, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		s.t.Fatal(err)
	}
	if !s.rewrite {
		return s.e.InstantiateWithConfig(ctx, b, wazero.NewModuleConfig().WithName(name))
	}
	c, err := s.valid.CompileModule(ctx, b)
	if err != nil {
		meter.Rewrite(b, meter.Options{}) // may return any error, but not panic
		return nil, err
	}
	c.Close(ctx)
	out, _, err := meter.Rewrite(b, meter.Options{})
	if err != nil {
		s.t.Errorf("%s: %v", file, err)
		return nil, err
	}
	c, err = s.e.CompileModule(ctx, out)
	if err != nil {
		s.t.Errorf("%s: output is invalid: %v", file, err)
		return nil, err
	}
	c.Close(ctx)
	mod, err := s.e.start(ctx, out, name)
	if mod != nil {
		s.all = append(s.all, mod)
	}
	return mod, err
}

// play returns the result of command i, and the number of commands that it consumed.
func (s *specRun) play(commands []specCommand, i int) (string, int) {
	c := &commands[i]
	if c.ModuleType == "text" {
		return "text", 1
	}
	switch c.Type {
	case "module":
		name, n := "", 1
		if i+1 < len(commands) && commands[i+1].Type == "register" {
			name, n = commands[i+1].As, 2
		}
		mod, err := s.load(c.Filename, name)
		s.last = mod
		if c.Name != "" {
			s.named[c.Name] = mod
		}
		return class(err), n
	case "assert_return", "action", "assert_trap", "assert_exhaustion":
		return s.act(c), 1
	case "assert_malformed", "assert_invalid", "assert_unlinkable":
		_, err := s.load(c.Filename, "")
		if err != nil {
			return "refused", 1
		}
		return class(err), 1
	case "assert_uninstantiable": // the engine accepts some of the originals
		_, err := s.load(c.Filename, "")
		if want := "wasm error: " + strings.Replace(c.Text, "out of bounds table", "invalid table", 1); s.rewrite && class(err) != want {
			return class(err), 1
		}
		return c.Text, 1
	}
	s.t.Fatalf("line %d: command %s", c.Line, c.Type)
	return "", 0
}

func (s *specRun) act(c *specCommand) string {
	mod := s.last
	if c.Action.Module != "" {
		mod = s.named[c.Action.Module]
	}
	if mod == nil {
		return "no module"
	}
	var got []uint64
	if c.Action.Type == "get" {
		g := mod.ExportedGlobal(c.Action.Field)
		got = []uint64{g.Get()}
	} else {
		var args []uint64
		for _, a := range c.Action.Args {
			args = append(args, a.words()...)
		}
		var err error
		got, err = mod.ExportedFunction(c.Action.Field).Call(s.t.Context(), args...)
		if err != nil {
			for _, m := range s.all {
				m.ExportedGlobal(meter.StackExport).(api.MutableGlobal).Set(meter.StackLimit)
			}
			return class(err)
		}
	}
	at := 0
	for _, e := range c.Expected {
		n := 1
		if e.Type == "v128" {
			n = 2
		}
		if m := e.match(got[at : at+n]); m != "" && (s.rewrite || !strings.Contains(m, "NaN")) {
			if m != "negative NaN" || !strings.Contains(c.Action.Field, "neg") {
				return m
			}
		}
		at += n
	}
	return "as expected"
}

// class reduces an error to its first line; all kinds of a full stack are equal.
func class(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errStack), strings.Contains(err.Error(), "stack overflow"):
		return "stack overflow"
	}
	msg, _, _ := strings.Cut(err.Error(), "\n")
	if i := strings.Index(msg, "wasm error: "); i >= 0 {
		msg = msg[i:]
	}
	if i := strings.Index(msg, "module["); i >= 0 {
		msg = msg[i:]
	}
	return msg
}

// playSpec returns a line for each command of a script.
func playSpec(t *testing.T, compiler, rewrite bool, features api.CoreFeatures, file string) []string {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var script struct{ Commands []specCommand }
	if err := json.Unmarshal(raw, &script); err != nil {
		t.Fatal(err)
	}
	valid := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features))
	defer valid.Close(context.Background())
	if rewrite {
		features = api.CoreFeaturesV2 // the output may use bulk operations
	}
	e := newEngineWith(t, compiler, features)
	defer e.Close(context.Background())
	e.account.slice = 1000 // so that refills happen everywhere
	spectest, err := os.ReadFile(filepath.Join(filepath.Dir(file), "../../testdata/spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Instantiate(t.Context(), spectest); err != nil {
		t.Fatal(err)
	}
	s := &specRun{t: t, e: e, valid: valid, dir: filepath.Dir(file), rewrite: rewrite, named: map[string]api.Module{}}
	var lines []string
	for i := 0; i < len(script.Commands); {
		c := script.Commands[i]
		what, n := s.play(script.Commands, i)
		lines = append(lines, fmt.Sprintf("%d %s %s: %s", c.Line, c.Type, c.Action.Field, what))
		i += n
	}
	return lines
}

// specDir returns the folder of the scripts in the engine's sources. They cannot be imported,
// but the module cache holds them as files.
func specDir(t testing.TB, version string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatalf("find the engine's sources: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal/integration_test/spectest", version, "testdata")
}

func specFiles(t testing.TB, version string) []string {
	t.Helper()
	dir := specDir(t, version)
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) < 50 {
		t.Fatalf("%d spec scripts in %s: %v", len(files), dir, err)
	}
	return files
}

// TestSpec runs the scripts: with LIFTOFF_TEST_LARGE all of them under both engines, otherwise
// the smaller ones, of each version under one engine.
func TestSpec(t *testing.T) {
	large := os.Getenv("LIFTOFF_TEST_LARGE") != ""
	for _, v := range []struct {
		name     string
		features api.CoreFeatures
	}{{"v1", api.CoreFeaturesV1}, {"v2", api.CoreFeaturesV2}} {
		for _, compiler := range []bool{true, false} {
			name := v.name + "/interpreter"
			if compiler {
				name = v.name + "/compiler"
			}
			if !large && compiler != (v.name == "v2") {
				continue
			}
			t.Run(name, func(t *testing.T) {
				commands := 0
				for _, file := range specFiles(t, v.name) {
					if info, err := os.Stat(file); err != nil || !large && info.Size() > specSmall {
						continue
					}
					got := playSpec(t, compiler, true, v.features, file)
					want := playSpec(t, compiler, false, v.features, file)
					commands += len(got)
					if v.name == "v1" && filepath.Base(file) == "linking.json" {
						got, want = slices.DeleteFunc(got, leavesTraces), slices.DeleteFunc(want, leavesTraces)
					}
					if !slices.Equal(got, want) {
						diff(t, filepath.Base(file), got, want)
					}
				}
				t.Logf("%d commands", commands)
			})
		}
	}
}

// leavesTraces reports whether a line of linking.json shows what a module that does not link
// has left in an imported table or memory. In version 1 of WebAssembly that is nothing, from
// version 2 on the segments before the one that does not fit. Modules are rewritten for version
// 2.
func leavesTraces(line string) bool {
	for _, n := range []string{"236 ", "248 ", "342 ", "354 "} {
		if strings.HasPrefix(line, n) {
			return true
		}
	}
	return false
}

// specSmall is the size of a script, in bytes, up to which every test run includes it.
const specSmall = 150_000

func diff(t *testing.T, file string, got, want []string) {
	shown := 0
	for i := range max(len(got), len(want)) {
		if shown == 5 {
			t.Errorf("%s: and more", file)
			return
		}
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("%s:\n rewritten %s\n original  %s", file, at(got, i), at(want, i))
			shown++
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}

// specModules returns a few modules of one of the official scripts.
func specModules(t testing.TB, script string) [][]byte {
	t.Helper()
	var modules [][]byte
	for i := range 12 {
		b, err := os.ReadFile(filepath.Join(specDir(t, "v2"), fmt.Sprintf("%s.%d.wasm", script, i)))
		if err == nil {
			modules = append(modules, b)
		}
	}
	if len(modules) == 0 {
		t.Fatalf("no modules of the script %s", script)
	}
	return modules
}
