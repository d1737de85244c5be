package dag

import (
	"context"
	"fmt"
	"io"
)

// Reader returns a reader over the file, at its start. It must not be used concurrently.
func (f *File) Reader(ctx context.Context) *FileReader { return &FileReader{ctx: ctx, f: f} }

// FileReader adapts a File to the standard library: it is an io.ReadSeeker, an io.ReaderAt and an io.WriterTo.
type FileReader struct {
	ctx context.Context // of the caller: the interfaces have no ctx argument
	f   *File
	off int64
}

var (
	_ io.ReadSeeker = (*FileReader)(nil)
	_ io.ReaderAt   = (*FileReader)(nil)
	_ io.WriterTo   = (*FileReader)(nil)
)

// Read reads from the current offset.
func (r *FileReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.f.ReadAt(r.ctx, p, r.off)
	r.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt reads from off and does not change the current offset.
func (r *FileReader) ReadAt(p []byte, off int64) (int, error) { return r.f.ReadAt(r.ctx, p, off) }

// Seek sets the current offset.
func (r *FileReader) Seek(offset int64, origin int) (int64, error) {
	switch origin {
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += r.f.Size()
	}
	if offset < 0 {
		return r.off, fmt.Errorf("seek in file %s: negative offset %d", r.f.root.cid, offset)
	}
	r.off = offset
	return offset, nil
}

// WriteTo writes the file from the current offset to its end.
func (r *FileReader) WriteTo(w io.Writer) (int64, error) {
	n, err := r.f.WriteRange(r.ctx, w, r.off, r.f.Size())
	r.off += n
	return n, err
}
