package wasm

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// errStack ends a run whose guest has used up its stack: trap 7.
var errStack = errors.New("stack overflow")

// errGrow says that the engine could not grow a memory up to the run's limit.
var errGrow = errors.New("grow reserved guest memory: refused by wazero")

// rewrite returns b as a metered module. A module that cannot be parsed is refused.
func rewrite(b []byte) ([]byte, error) {
	out, _, err := meter.Rewrite(b, meter.Options{})
	if err != nil {
		return nil, runtime.Refusef("not a valid module: %v", err)
	}
	return out, nil
}

// instantiateMeter instantiates the module that metered guests call when a counter is below
// zero, and before their memory grows. See package meter.
func instantiateMeter(ctx context.Context, rt wazero.Runtime) error {
	const i64 = api.ValueTypeI64
	_, err := rt.NewHostModuleBuilder(meter.HostModule).
		NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(refill), []api.ValueType{i64, i64}, []api.ValueType{i64}).
		Export(meter.RefillImport).
		NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(grow), []api.ValueType{i64}, nil).
		Export(meter.GrowImport).
		Instantiate(ctx)
	return err
}

// refill gives the guest more fuel, or ends its run. Here a guest that makes no other calls is
// interrupted, and other goroutines get to run: native code cannot be preempted, and the
// collector waits for it.
func refill(ctx context.Context, _ api.Module, stack []uint64) {
	r := ctx.Value(runKey{}).(*run)
	if int64(stack[1]) < 0 {
		end(errStack)
	}
	left := r.fuel.Refill(int64(stack[0]))
	fuel.YieldIfBusy()
	r.checkCancelled()
	stack[0] = uint64(left)
}

// grow receives the number of pages to which the guest's memory is about to grow, or -1 if the
// engine refused. It yields to other goroutines, too: growing by zero pages takes the time of
// many instructions, and costs as much as one.
func grow(ctx context.Context, _ api.Module, stack []uint64) {
	r := ctx.Value(runKey{}).(*run)
	pages := int64(stack[0])
	if pages < 0 {
		end(errGrow)
	}
	fuel.YieldIfBusy()
	r.checkCancelled()
	r.fuel.Spend(0)
	if uint64(pages) > r.lim.Pages {
		end(&runtime.QuotaError{Code: job.QuotaPages})
	}
}
