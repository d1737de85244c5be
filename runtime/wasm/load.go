package wasm

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// readModule returns the bytes of the file c, which may have at most most bytes.
func readModule(ctx context.Context, bs dag.Blocks, c cid.Cid, most int64) ([]byte, error) {
	f, err := dag.OpenFile(ctx, bs, c)
	if err != nil {
		return nil, moduleError(c, err)
	}
	defer f.Close()
	if f.Size() > most {
		return nil, runtime.Refusef("module file: got %d bytes, want at most %d", f.Size(), most)
	}
	b := make([]byte, f.Size())
	if _, err := f.ReadAt(ctx, b, 0); err != nil {
		return nil, moduleError(c, err)
	}
	return b, nil
}

// moduleError turns an error about the content of a module into a refusal; other errors stay.
func moduleError(c cid.Cid, err error) error {
	var notFile *dag.NotFileError
	var format *dag.FormatError
	var big *dag.TooBigError
	if errors.As(err, &notFile) || errors.As(err, &format) || errors.As(err, &big) {
		return runtime.Refusef("%v", err)
	}
	return fmt.Errorf("read module %s: %w", c, err)
}
