package wasm

import (
	"context"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// printed counts the bytes that a run prints, on both streams together.
type printed struct{ used, limit uint64 }

// stream is a guest's stdout or stderr: every byte is passed to the follower live, and written
// to a file that the Outcome links to.
type stream struct {
	ctx   context.Context // the context of the run
	name  string
	count *printed
	live  io.Writer // nil: not followed
	file  *dag.FileWriter
}

func newStream(ctx context.Context, name string, count *printed, live io.Writer, bs dag.Blocks) *stream {
	return &stream{ctx, name, count, live, dag.NewFileWriter(ctx, bs, outProfile)}
}

// charge returns a *runtime.QuotaError if n more bytes would exceed the limit; then nothing is
// printed.
func (s *stream) charge(n uint64) error {
	if n > s.count.limit-s.count.used {
		return &runtime.QuotaError{Code: job.QuotaLog}
	}
	s.count.used += n
	return nil
}

// Write implements io.Writer. It does not keep p.
func (s *stream) Write(p []byte) (int, error) {
	if err := s.charge(uint64(len(p))); err != nil {
		return 0, err
	}
	return s.write(p)
}

func (s *stream) writeLine(line []byte) error {
	if err := s.charge(uint64(len(line)) + 1); err != nil {
		return err
	}
	if _, err := s.write(line); err != nil {
		return err
	}
	_, err := s.write([]byte{'\n'})
	return err
}

// write passes p on in pieces, so that a guest that prints a large amount at once can be
// interrupted.
func (s *stream) write(p []byte) (n int, err error) {
	fuel.Steps(s.ctx, p, func(b []byte) {
		if err == nil {
			var k int
			k, err = s.writePiece(b)
			n += k
		}
	})
	return n, err
}

func (s *stream) writePiece(p []byte) (int, error) {
	if n, err := s.file.Write(p); err != nil {
		return n, fmt.Errorf("store the guest's %s: %w", s.name, err)
	}
	if s.live == nil {
		return len(p), nil
	}
	n, err := s.live.Write(p)
	if err != nil {
		return n, fmt.Errorf("forward the guest's %s: %w", s.name, err)
	}
	return n, nil
}

// finish returns the stored file, or cid.Undef if nothing was printed.
func (s *stream) finish() (cid.Cid, error) {
	if s.file.Size() == 0 {
		return cid.Undef, nil
	}
	e, err := s.file.Finish()
	if err != nil {
		return cid.Undef, fmt.Errorf("store the guest's %s: %w", s.name, err)
	}
	return e.CID, nil
}
