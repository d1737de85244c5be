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

// errStack ends a run whose guest used up its stack: trap 7.
var errStack = errors.New("stack overflow")

// errGrow says that the engine could not grow a memory as far as the Job allows.
var errGrow = errors.New("the engine refused to grow a guest's memory that was reserved for it")

// rewrite makes b a metered module. What cannot be read is refused.
func rewrite(b []byte) ([]byte, error) {
	out, _, err := meter.Rewrite(b, meter.Options{})
	if err != nil {
		return nil, runtime.Refusef("not a valid module: %v", err)
	}
	return out, nil
}

// instantiateMeter makes the module that metered guests call when a counter is below
// zero and before their memory grows. See package meter.
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

// refill gives the guest more fuel, or ends its run. It is also where a guest that
// calls nothing else is interrupted, and where everything else in the process gets its
// turn: native code cannot be preempted, and the collector waits for it.
func refill(ctx context.Context, _ api.Module, stack []uint64) {
	r := ctx.Value(runKey{}).(*run)
	if int64(stack[1]) < 0 {
		end(errStack)
	}
	left := r.fuel.Refill(int64(stack[0]))
	fuel.GiveWay()
	r.checkCancelled()
	stack[0] = uint64(left)
}

// grow is told to how many pages the guest's memory is about to grow, or -1 when the
// engine refused it. It is a turn for others, too: growing by no page takes the time of
// many instructions, and costs as much as one.
func grow(ctx context.Context, _ api.Module, stack []uint64) {
	r := ctx.Value(runKey{}).(*run)
	pages := int64(stack[0])
	if pages < 0 {
		end(errGrow)
	}
	fuel.GiveWay()
	r.checkCancelled()
	r.fuel.Spend(0)
	if uint64(pages) > r.lim.Pages {
		end(&runtime.QuotaError{Code: job.QuotaPages})
	}
}
