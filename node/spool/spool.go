// Package spool buffers the output of a guest, from its first byte, for any number of readers.
// Readers may come at any time and read at their own speed. A writer never waits for a reader, so a
// job can run without readers.
//
// The newest output is in memory, the rest in a file without a name: nothing is left of it when the
// process ends, in whatever way.
package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Bounds in bytes.
const (
	inMemory  = 64 << 10 // maximum buffer in memory
	readChunk = 64 << 10
)

// ErrFull means that a write would exceed Spool.Max.
var ErrFull = errors.New("job output exceeds its limit")

// Streams of a Spool.
const (
	Stdout = 1
	Stderr = 2
)

// header is the size of a chunk's header: its stream, and its length in four bytes.
const header = 5

// Spool is the output of one run. Its methods may be called from several goroutines. The zero value
// with a Create is ready to use.
type Spool struct {
	// Create returns an empty, unlinked file. The Spool closes it.
	Create func() (*os.File, error)
	Max    int64 // maximum bytes of output; 0: unlimited

	mu      sync.Mutex
	file    *os.File      // the older chunks; nil: all are in mem
	base    int64         // size of file in bytes
	mem     []byte        // the newer chunks; no chunk is in both
	size    int64         // bytes of all chunks
	printed int64         // bytes of output
	texts   [2]text       // of stdout and stderr
	changed chan struct{} // closed and replaced when there is more; nil: no reader waits
	over    bool          // no more writes
	ended   bool          // no new readers
	readers int
}

// text is the position of one stream's text within the chunks.
type text struct {
	from, bytes         int64 // chunks before from are skipped; bytes of output after it
	falseFrom, falseEnd int64 // chunks with output that the guest did not print
}

// Writer returns a writer for one stream.
func (s *Spool) Writer(stream byte) io.Writer { return writer{s, stream} }

type writer struct {
	s      *Spool
	stream byte
}

func (w writer) Write(p []byte) (int, error) {
	if err := w.s.append(w.stream, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *Spool) append(stream byte, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errors.New("write job output to a stopped spool")
	}
	if s.Max > 0 && s.texts[0].bytes+s.texts[1].bytes+int64(len(p)) > s.Max {
		return ErrFull
	}
	head := [header]byte{stream}
	binary.BigEndian.PutUint32(head[1:], uint32(len(p)))
	if len(s.mem)+header+len(p) > inMemory {
		if err := s.spill(); err != nil {
			return fmt.Errorf("spool job output: %w", err)
		}
	}
	s.mem = append(append(s.mem, head[:]...), p...)
	s.size += header + int64(len(p))
	s.printed += int64(len(p))
	s.texts[stream-1].bytes += int64(len(p))
	s.wake()
	return nil
}

// Restart starts the text of one stream again: readers that come later do not see what was written
// to it before. If isFalse, the guest did not print it: a reader that has seen some of it sees no
// more of that stream, and its Misled reports it. Otherwise such a reader continues with what
// comes. The skipped text stays in the file until the end.
func (s *Spool) Restart(stream byte, isFalse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.texts[stream-1]
	if isFalse {
		t.falseFrom, t.falseEnd = t.from, s.size
	}
	t.from, t.bytes = s.size, 0
}

// spill moves the chunks in memory to the file. s.mu is held.
func (s *Spool) spill() error {
	if s.file == nil {
		f, err := s.Create()
		if err != nil {
			return err
		}
		s.file = f
	}
	if _, err := s.file.WriteAt(s.mem, s.base); err != nil {
		return err
	}
	s.base += int64(len(s.mem))
	s.mem = s.mem[:0]
	return nil
}

func (s *Spool) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Stop ends the output: readers reach the end. The output stays until End.
func (s *Spool) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.wake()
}

// End is Stop, and the last reader releases the resources of the Spool.
func (s *Spool) End() {
	s.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.free()
}

// free closes the file once no reader can need it. s.mu is held.
func (s *Spool) free() {
	if s.ended && s.readers == 0 && s.file != nil {
		s.file.Close() // unlinked: closing deletes it
		s.file, s.mem, s.size = nil, nil, 0
	}
}

// Size returns how many bytes were printed since the last Restart.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.texts[0].bytes + s.texts[1].bytes
}

// ErrGone means that the run has ended and its output was removed from the Spool. The record of
// the job has it.
var ErrGone = errors.New("job output was removed from the spool")

// Reader is the position of one reader. It belongs to one goroutine.
type Reader struct {
	s      *Spool
	off    int64
	chunk  int64 // start of the current chunk
	stream byte  // of the current chunk
	left   int64 // unread bytes of the current chunk
	buf    []byte
	seen   [2]int64 // 1 + start of the last shown chunk of each stream; 0: none
	last   int64    // reading ends at this offset; 0: at the end of the run
}

// Open returns a reader at the first byte. The caller must close it. The error is ErrGone.
func (s *Spool) Open() (*Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended && s.size == 0 && s.printed > 0 {
		return nil, ErrGone
	}
	s.readers++
	return &Reader{s: s}, nil
}

// EndHere limits the reader to the output so far: CopyTo returns at its end and does not wait for more.
func (r *Reader) EndHere() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.last = max(r.s.size, 1) // 1 is below the size of any chunk
}

// Close releases what the Spool holds for the reader.
func (r *Reader) Close() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.readers--
	r.s.free()
}

// CopyTo writes all past and future output to stdout and stderr, in its original order, until the
// end. Each writer may be nil. The error is the cause of ctx, or that of a writer.
func (r *Reader) CopyTo(ctx context.Context, stdout, stderr io.Writer) error {
	r.buf = make([]byte, readChunk)
	for {
		stream, p, err := r.next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		w := stdout
		if stream == Stderr {
			w = stderr
		}
		if w == nil || !r.shows(stream) {
			continue
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
}

// shows reports whether the current chunk is to be shown, and records that it is.
func (r *Reader) shows(stream byte) bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.chunk < r.s.texts[stream-1].from || r.misled(stream) {
		return false
	}
	r.seen[stream-1] = r.chunk + 1
	return true
}

// misled reports whether r has shown output that the guest did not print. r.s.mu is held.
func (r *Reader) misled(stream byte) bool {
	t := r.s.texts[stream-1]
	return r.seen[stream-1] > t.falseFrom && r.seen[stream-1] <= t.falseEnd
}

// Misled reports for each stream whether r has written false text to it.
func (r *Reader) Misled() (stdout, stderr bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.misled(Stdout), r.misled(Stderr)
}

// next returns some bytes of a stream, valid until the next call.
func (r *Reader) next(ctx context.Context) (byte, []byte, error) {
	if r.left == 0 {
		if err := r.wait(ctx); err != nil {
			return 0, nil, err
		}
		r.chunk = r.off
		if err := r.readAt(r.buf[:header]); err != nil {
			return 0, nil, err
		}
		r.stream, r.left = r.buf[0], int64(binary.BigEndian.Uint32(r.buf[1:]))
	}
	p := r.buf[:min(r.left, int64(len(r.buf)))]
	err := r.readAt(p)
	r.left -= int64(len(p))
	return r.stream, p, err
}

// readAt reads a part of one chunk, from memory or from the file.
func (r *Reader) readAt(p []byte) error {
	s := r.s
	s.mu.Lock()
	f := s.file
	if r.off >= s.base {
		copy(p, s.mem[r.off-s.base:])
		f = nil
	}
	s.mu.Unlock()
	if f != nil { // it stays open while there is a reader
		if _, err := f.ReadAt(p, r.off); err != nil {
			return fmt.Errorf("read spooled job output: %w", err)
		}
	}
	r.off += int64(len(p))
	return nil
}

// wait returns nil when there is a chunk to read, and io.EOF at the end.
func (r *Reader) wait(ctx context.Context) error {
	for {
		s := r.s
		s.mu.Lock()
		if r.off < s.size && (r.last == 0 || r.off < r.last) {
			s.mu.Unlock()
			return nil
		}
		if s.over || r.last > 0 {
			s.mu.Unlock()
			return io.EOF
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
