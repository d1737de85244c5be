package node

import (
	"context"
	"errors"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// hintFull is the hint of a full-disk error: both commands work on a full disk.
const hintFull = "free disk space: `liftoff pin rm NAME` for data that is not needed (`liftoff pin ls`), then `liftoff gc`"

// apiError converts an error of the layers below, in a call under ctx, into an *api.Error; nil stays nil.
func apiError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); ctx.Err() != nil && errors.Is(err, cause) {
		if e := (*api.Error)(nil); errors.As(cause, &e) {
			return e
		}
		return api.Errorf(api.CodeInterrupted, "interrupted")
	}
	var (
		already  *api.Error
		missing  *dag.NotFoundError
		noPin    *store.PinNotFoundError
		damaged  *dag.DamagedError
		attached *store.AttachedError
		readOnly *store.ReadOnlyError
		full     *store.QuotaError
		opaque   *store.OpaqueError
	)
	fault := func(hint string) error {
		return &api.Error{Code: api.CodeFault, Message: err.Error(), Hint: hint}
	}
	switch {
	case errors.As(err, &already):
		return already
	case errors.As(err, &missing), errors.As(err, &noPin):
		return &api.Error{Code: api.CodeMissing, Message: err.Error()}
	case errors.As(err, &attached):
		return &api.Error{Code: api.CodeFault, Message: err.Error(), Damaged: true, Hint: attached.Hint()}
	case errors.As(err, &damaged):
		return &api.Error{
			Code: api.CodeFault, Message: err.Error(), Damaged: true,
			Hint: "`liftoff store check` finds all damaged blocks; add or import the data again to repair them",
		}
	case errors.As(err, &readOnly):
		return fault("make the repo writable, or set LIFTOFF_PATH to another repo")
	case errors.As(err, &opaque):
		return fault("import the CAR that contains the block, or use `liftoff pin add --opaque`, which keeps the block without the blocks it links to")
	case errors.As(err, &full):
		return fault("remove pins with `liftoff pin rm`, or raise LIFTOFF_QUOTA")
	case diskfs.Full(err):
		return fault(hintFull)
	}
	return api.AsError(err)
}
