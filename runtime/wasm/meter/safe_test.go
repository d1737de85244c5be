package meter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// memoryAfter runs a module's export "run" and returns its memory. The modules here may import
// their own refill, like those in which the fault was found.
func memoryAfter(t *testing.T, compiler bool, b []byte) []byte {
	t.Helper()
	ctx := t.Context()
	e := newEngine(t, compiler)
	i64 := api.ValueTypeI64
	if _, err := e.NewHostModuleBuilder("meter").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, s []uint64) { s[0] += 1 << 20 }),
			[]api.ValueType{i64, i64}, []api.ValueType{i64}).
		Export("refill").Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	m, err := e.InstantiateWithConfig(ctx, b, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.ExportedFunction("run").Call(ctx); err != nil {
		t.Fatal(err)
	}
	mem, _ := m.Memory().Read(0, m.Memory().Size())
	return bytes.Clone(mem)
}

func rewrite(t testing.TB, b []byte, opts meter.Options) []byte {
	t.Helper()
	out, _, err := meter.Rewrite(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEngineFaults pins the engine's faults, explained in safe.go and zero.go, and checks that
// guests are not affected. Each module is one in which a fault was found, most of them reduced;
// no NaN is observable in them.
func TestEngineFaults(t *testing.T) {
	names, err := filepath.Glob("testdata/faults/*.wasm")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d modules, %v", len(names), err)
	}
	faults := faultModules()
	for _, name := range names {
		faults = append(faults, faultModule{strings.TrimSuffix(filepath.Base(name), ".wasm"), "amd64", testdata(t, strings.TrimPrefix(name, "testdata/"))})
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			b := f.module
			want := memoryAfter(t, false, b)
			if strings.Contains(f.wrongOn, runtime.GOARCH) && bytes.Equal(memoryAfter(t, true, b), want) {
				t.Error("fixed in the engine: does this instruction still need another form?")
			}
			out := rewrite(t, b, meter.Options{})
			if got := memoryAfter(t, true, out); !bytes.Equal(got, memoryAfter(t, false, out)) {
				t.Error("rewritten: compiler and interpreter differ")
			}
			raw := rewrite(t, b, meter.Options{RawNaN: true})
			if got := memoryAfter(t, true, raw); !bytes.Equal(got, want) {
				t.Error("rewritten: wrong result")
			}
		})
	}
}

// wasm returns a module of the given sections.
func wasm(sections ...string) []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range sections {
		b = append(b, s...)
	}
	return b
}

func part(id byte, content string) string { return string(id) + sized(content) }

func sized(s string) string { return string(binary.AppendUvarint(nil, uint64(len(s)))) + s }
