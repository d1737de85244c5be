package meter_test

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

func runRepro(t *testing.T, compiler bool, b []byte) []byte {
	cfg := wazero.NewRuntimeConfigInterpreter()
	if compiler {
		cfg = wazero.NewRuntimeConfigCompiler()
	}
	ctx := t.Context()
	rt := wazero.NewRuntimeWithConfig(ctx, cfg)
	defer rt.Close(context.Background())
	if _, err := rt.NewHostModuleBuilder("meter").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, s []uint64) { s[0] += 1 << 20 }),
			[]api.ValueType{api.ValueTypeI64, api.ValueTypeI64}, []api.ValueType{api.ValueTypeI64}).
		Export("refill").Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	m, err := rt.InstantiateWithConfig(ctx, b, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range m.ExportedFunctionDefinitions() {
		t.Log(name, d.ParamTypes(), d.ResultTypes())
		r, err := m.ExportedFunction(name).Call(ctx)
		t.Log(r, err)
	}
	mem, _ := m.Memory().Read(0, m.Memory().Size())
	return bytes.Clone(mem)
}

func TestX(t *testing.T) {
	for _, n := range []string{"1", "2"} {
		b, _ := os.ReadFile("testdata/float-select-" + n + ".wasm")
		x, y := runRepro(t, true, b), runRepro(t, false, b)
		for i := range x {
			if x[i] != y[i] {
				t.Logf("%d: %x %x", i, x[i], y[i])
			}
		}
	}
}
