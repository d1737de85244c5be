package dag

import (
	"context"
	"errors"
)

// FileWriter builds a file from the bytes written to it. It holds one chunk and one incomplete node per level. It
// must not be used concurrently.
type FileWriter struct {
	ctx   context.Context // of the caller: io.Writer has no ctx argument
	bs    Blocks
	tree  fileTree
	chunk []byte
	size  uint64
	err   error // the first error, returned by all later calls
}

// NewFileWriter starts a file in bs. When ctx is done, writes fail with its cause.
func NewFileWriter(ctx context.Context, bs Blocks, p Profile) *FileWriter {
	return &FileWriter{ctx: ctx, bs: bs, tree: fileTree{p: p}}
}

// Write appends p to the file.
func (w *FileWriter) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 && w.err == nil {
		if w.chunk == nil {
			w.chunk = make([]byte, 0, min(w.tree.p.ChunkSize, max(len(p), 4<<10)))
		}
		k := min(len(p), w.tree.p.ChunkSize-len(w.chunk))
		w.chunk = append(w.chunk, p[:k]...)
		p, n = p[k:], n+k
		w.size += uint64(k)
		if len(w.chunk) == w.tree.p.ChunkSize {
			w.err = w.flush()
		}
	}
	return n, w.err
}

// Size returns the bytes written so far.
func (w *FileWriter) Size() uint64 { return w.size }

func (w *FileWriter) flush() error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	b, c, err := w.tree.p.leaf(w.chunk)
	if err != nil {
		return err
	}
	w.chunk = nil // the block owns it
	if err := w.bs.Put(w.ctx, b); err != nil {
		return err
	}
	return w.tree.add(w.ctx, w.bs, c)
}

var errFinished = errors.New("write to a file that is already finished")

// Finish completes the file and returns it. Later writes fail.
func (w *FileWriter) Finish() (Entry, error) {
	if w.err == nil && (len(w.chunk) > 0 || w.size == 0) {
		w.err = w.flush()
	}
	if w.err != nil {
		return Entry{}, w.err
	}
	e, err := w.tree.finish(w.ctx, w.bs)
	w.err = errFinished
	return e, err
}
