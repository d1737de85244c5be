package meter_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// The host of these tests grants fuel in slices and ends runs, as package meter requires.

var (
	errFuel  = errors.New("out of fuel")
	errStack = errors.New("stack overflow")
	errQuota = errors.New("memory quota")
)

type account struct {
	slice, budget int64
	granted       int64
	refills       int
	pages         int64 // limit
	overshoot     int64 // the lowest value of fuel below zero
}

func newAccount() *account {
	return &account{slice: meter.Slice, budget: 1 << 62, pages: 1 << 16}
}

func (a *account) refill(_ context.Context, _ api.Module, s []uint64) {
	fuel, stack := int64(s[0]), int64(s[1])
	a.refills++
	a.overshoot = max(a.overshoot, -fuel)
	if stack < 0 {
		panic(errStack)
	}
	spent := a.granted - fuel
	if spent > a.budget {
		panic(errFuel)
	}
	a.granted = min((spent+a.slice-1)/a.slice*a.slice, a.budget)
	s[0] = uint64(a.granted - spent)
}

func (a *account) grow(_ context.Context, _ api.Module, s []uint64) {
	if pages := int64(s[0]); pages > a.pages {
		panic(errQuota)
	}
}

// spent returns the fuel that mod has used.
func (a *account) spent(mod api.Module) int64 {
	return a.granted - int64(mod.ExportedGlobal(meter.FuelExport).Get())
}

// engine is a runtime with the metering's host module.
type engine struct {
	wazero.Runtime
	account *account // of the current run
}

func newEngine(t testing.TB, compiler bool) *engine {
	t.Helper()
	return newEngineWith(t, compiler, api.CoreFeaturesV2)
}

func newEngineWith(t testing.TB, compiler bool, features api.CoreFeatures) *engine {
	t.Helper()
	cfg := wazero.NewRuntimeConfigInterpreter()
	if compiler {
		cfg = wazero.NewRuntimeConfigCompiler()
	}
	e := &engine{Runtime: wazero.NewRuntimeWithConfig(t.Context(), cfg.WithCoreFeatures(features)), account: newAccount()}
	t.Cleanup(func() { e.Close(context.Background()) })
	i64, none := []api.ValueType{api.ValueTypeI64}, []api.ValueType{}
	_, err := e.NewHostModuleBuilder(meter.HostModule).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, s []uint64) {
		e.account.refill(ctx, m, s)
	}), []api.ValueType{api.ValueTypeI64, api.ValueTypeI64}, i64).Export(meter.RefillImport).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, s []uint64) {
		e.account.grow(ctx, m, s)
	}), i64, none).Export(meter.GrowImport).
		Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// start instantiates a metered module and runs its start function.
func (e *engine) start(ctx context.Context, b []byte, name string) (api.Module, error) {
	mod, err := e.InstantiateWithConfig(ctx, b, wazero.NewModuleConfig().WithName(name).WithStartFunctions())
	if err != nil {
		return nil, err
	}
	if f := mod.ExportedFunction(meter.StartExport); f != nil {
		if _, err := f.Call(ctx); err != nil {
			return mod, fmt.Errorf("start: %w", err)
		}
	}
	return mod, nil
}

func bothEngines(t *testing.T, f func(t *testing.T, e *engine)) {
	for _, compiler := range []bool{true, false} {
		name := "interpreter"
		if compiler {
			name = "compiler"
		}
		t.Run(name, func(t *testing.T) { f(t, newEngine(t, compiler)) })
	}
}
