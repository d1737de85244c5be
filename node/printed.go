package node

import (
	"context"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// printed is a guest's output to one of its streams, and the writer that receives it.
type printed struct {
	file cid.Cid   // cid.Undef: no output
	to   io.Writer // nil: not shown
}

func (p printed) write(ctx context.Context, bs dag.Blocks, w io.Writer) error {
	if !p.file.Defined() || p.to == nil {
		return nil
	}
	f, err := dag.OpenFile(ctx, bs, p.file)
	if err == nil {
		_, err = f.WriteTo(ctx, w)
	}
	return err
}

// readable reports whether all of it can be read: no part should be shown if the rest cannot be.
func (p printed) readable(ctx context.Context, bs dag.Blocks) bool {
	return p.write(ctx, bs, io.Discard) == nil
}

// show writes it. An error of the writer is returned unchanged.
func (p printed) show(ctx context.Context, bs dag.Blocks) error {
	w := &firstError{w: p.to}
	err := p.write(ctx, bs, w)
	if w.err != nil {
		return w.err
	}
	return apiError(ctx, err)
}

// firstError keeps the first error of a writer.
type firstError struct {
	w   io.Writer
	err error
}

// orNil returns f, or nil if it has no writer.
func (f *firstError) orNil() io.Writer {
	if f.w == nil {
		return nil
	}
	return f
}

func (f *firstError) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n, err
}
