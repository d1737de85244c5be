package wasm

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// A hostCall executes one call of the ABI for a run. a are its parameters as the guest passed
// them: an i32 is in the low half. It returns the answer, or an errno. What ends the run (a
// limit, a missing block, cancellation) it panics with, as an error that wazero returns from
// the call into the guest.
type hostCall func(r *run, mem api.Memory, a []uint64) (int64, abi.Errno)

// hostCalls are the calls of module liftoff_v1, one file per family.
var hostCalls = map[string]hostCall{
	"input_count": inputCount, "input_name": inputName, "args": args, "env": env,
	"cid": cidOf, "codec": codecOf, "kind": kindOfBlock, "block_read": blockRead, "block_write": blockWrite,
	"file_read": fileRead, "file_create": fileCreate, "file_write": fileWrite, "file_finish": fileFinish,
	"link_count": linkCount, "link": linkAt, "child": child, "resolve": resolve,
	"dir_next": dirNext, "readlink": readlink, "close": closeHandle,
	"output": output, "hash": hash, "log": logLine, "progress": progress,
}

// instantiateHost instantiates the module liftoff_v1 in rt, with the signatures of abi.Calls.
func instantiateHost(ctx context.Context, rt wazero.Runtime) error {
	b := rt.NewHostModuleBuilder(abi.Module)
	for _, c := range abi.Calls {
		params := make([]api.ValueType, len(c.Params))
		for i, p := range c.Params {
			params[i] = api.ValueType(p.Type)
		}
		b.NewFunctionBuilder().
			WithGoModuleFunction(goCall(hostCalls[c.Name], len(params)), params, []api.ValueType{api.ValueTypeI64}).
			WithName(c.Name).
			Export(c.Name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// goCall makes a hostCall with n parameters callable by wazero. The answer replaces the first
// parameter.
func goCall(call hostCall, n int) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		r := ctx.Value(runKey{}).(*run)
		r.checkCancelled()
		r.fuel.Spend(abi.FuelCall)
		answer, errno := call(r, mod.Memory(), stack[:n])
		if errno != 0 {
			answer = -int64(errno)
		}
		stack[0] = uint64(answer)
	}
}

// end ends the run with err.
func end(err error) { panic(err) }

// errnoOf turns package dag's errors about a block's content into an errno. Any other error
// ends the run, without being visible to the guest.
func errnoOf(err error) abi.Errno {
	var (
		format      *dag.FormatError
		big         *dag.TooBigError
		unsupported *dag.UnsupportedError
		noEntry     *dag.NoEntryError
		notDir      *dag.NotDirError
		notFile     *dag.NotFileError
		path        *dag.PathError
	)
	switch {
	case errors.As(err, &format), errors.As(err, &big), errors.As(err, &unsupported):
		return abi.FORMAT
	case errors.As(err, &noEntry):
		return abi.NOENT
	case errors.As(err, &notDir):
		return abi.NOTDIR
	case errors.As(err, &notFile):
		return abi.NOTFILE
	case errors.As(err, &path):
		return abi.INVAL
	}
	end(err)
	return 0
}

// guestBytes returns the guest's [ptr, ptr+n). It is valid during the call: the guest's memory
// cannot grow while the host runs.
func guestBytes(mem api.Memory, ptr, n uint64) ([]byte, abi.Errno) {
	b, ok := mem.Read(uint32(ptr), uint32(n)) // sums in 64 bits
	if !ok {
		return nil, abi.FAULT
	}
	return b, 0
}

// give copies as much of s as fits to the guest's [ptr, ptr+room), and returns the length of s.
// The whole range must be inside the guest's memory.
func give[T ~string | ~[]byte](r *run, mem api.Memory, s T, ptr, room uint64) (int64, abi.Errno) {
	b, errno := guestBytes(mem, ptr, room)
	if errno != 0 {
		return 0, errno
	}
	r.fuel.Spend(abi.FuelCopy(uint64(min(len(b), len(s)))))
	copy(b, s)
	return int64(len(s)), 0
}
