package liftoff

import "io"

var (
	_ io.ReaderAt    = Handle(0)
	_ io.WriteCloser = (*Writer)(nil)
)

// Size returns the length in bytes of a file or a raw block.
func (h Handle) Size() (int64, error) {
	return check("file_read", hostFileRead(uint32(h), 0, nil, 0))
}

// ReadAt reads a file or a raw block. It loads only the blocks that overlap the
// range.
func (h Handle) ReadAt(p []byte, off int64) (int, error) {
	total, err := check("file_read", hostFileRead(uint32(h), off, ptr(p), size(p)))
	if err != nil {
		return 0, err
	}
	n := min(max(total-off, 0), int64(len(p)))
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// Reader returns a reader of the whole file. Each of its reads is a host call: wrap
// it in a bufio.Reader to read in small pieces.
func (h Handle) Reader() (*io.SectionReader, error) {
	total, err := h.Size()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(h, 0, total), nil
}

// Writer writes a new file. Its blocks go to the host as they fill, so its size is
// not limited by the guest's memory.
type Writer struct {
	h      Handle
	closed bool
}

// Create starts a new file.
func Create() (*Writer, error) {
	n, err := check("file_create", hostFileCreate())
	if err != nil {
		return nil, err
	}
	return &Writer{h: Handle(n)}, nil
}

// Write appends p to the file.
func (w *Writer) Write(p []byte) (int, error) {
	if _, err := check("file_write", hostFileWrite(uint32(w.h), ptr(p), size(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close finishes the file, which can be read and has a CID then. A second Close does
// nothing.
func (w *Writer) Close() error {
	if w.closed {
		return nil
	}
	if _, err := check("file_finish", hostFileFinish(uint32(w.h))); err != nil {
		return err
	}
	w.closed = true
	return nil
}

// Handle returns the handle of the file, which can be read once w is closed.
func (w *Writer) Handle() Handle { return w.h }

// Output closes w and makes the file part of the run's output, as [Handle.Output].
func (w *Writer) Output(name string) error {
	if err := w.Close(); err != nil {
		return err
	}
	return w.h.Output(name)
}
