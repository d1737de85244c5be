package node

import (
	"context"
	"errors"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// hintFull is what to do about a full disk: both work there.
const hintFull = "make room: `liftoff pin rm NAME` for what is not needed (`liftoff pin ls`), then `liftoff gc`"

// apiError turns an error of the parts below, in a call under ctx, into an *api.Error;
// nil stays nil.
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
			Hint: "`liftoff store verify` finds all damaged blocks; adding or importing the data again repairs them",
		}
	case errors.As(err, &readOnly):
		return fault("make it writable, or set LIFTOFF_PATH to another repo")
	case errors.As(err, &opaque):
		return fault("import the CAR that the block came in, or pin it with `liftoff pin add --opaque`, which keeps the block and not what it links to")
	case errors.As(err, &full):
		return fault("remove pins with `liftoff pin rm`, or raise LIFTOFF_QUOTA")
	case diskfs.Full(err):
		return fault(hintFull)
	}
	return api.AsError(err)
}
