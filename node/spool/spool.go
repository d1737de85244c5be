// Package spool keeps what a guest prints, from its first byte, for any number of
// readers who come when they like and read as fast as they can. A writer never waits
// for a reader, which is why a job can run on while nobody looks.
//
// What came last stays in memory, the rest goes to a file without a name: nothing is left
// of it when the process ends, however it ends.
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
	inMemory  = 64 << 10 // before there is a file
	readChunk = 64 << 10
)

// ErrFull says that more was printed than the spool takes.
var ErrFull = errors.New("more output than was agreed")

// Streams of a Spool.
const (
	Stdout = 1
	Stderr = 2
)

// header is a chunk's stream and its length in four bytes.
const header = 5

// Spool is the output of one run. Its methods may be called from several goroutines;
// the zero value, with a Create, is ready.
type Spool struct {
	// Create makes an empty file that the Spool may keep until it is over, unlinked.
	Create func() (*os.File, error)
	Max    int64 // bytes of output; 0: no bound

	mu      sync.Mutex
	file    *os.File      // the first chunks; nil: all are in mem
	base    int64         // bytes of them
	mem     []byte        // the chunks after them: none lies in both
	size    int64         // bytes of chunks
	printed int64         // bytes of output
	texts   [2]text       // of stdout and stderr
	changed chan struct{} // closed, and replaced, when there is more; nil: nobody waits
	over    bool          // nothing more will be written
	ended   bool          // nor read by anybody who comes now
	readers int
}

// text is where in the chunks the text of one stream lies.
type text struct {
	from, bytes         int64 // chunks before from are left out; bytes of output from there on
	falseFrom, falseEnd int64 // chunks that hold what the guest did not print
}

// Writer returns where one stream is written.
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
		return errors.New("write to a spool that is over")
	}
	if s.Max > 0 && s.texts[0].bytes+s.texts[1].bytes+int64(len(p)) > s.Max {
		return ErrFull
	}
	head := [header]byte{stream}
	binary.BigEndian.PutUint32(head[1:], uint32(len(p)))
	if len(s.mem)+header+len(p) > inMemory {
		if err := s.spill(); err != nil {
			return fmt.Errorf("keep a run's output: %w", err)
		}
	}
	s.mem = append(append(s.mem, head[:]...), p...)
	s.size += header + int64(len(p))
	s.printed += int64(len(p))
	s.texts[stream-1].bytes += int64(len(p))
	s.wake()
	return nil
}

// Restart begins the text of one stream again: what was written to it so far is not shown
// to readers that come to it later. If isFalse, the guest did not print it: a reader that
// has seen some of it sees no more of that stream, and its Misled says so. Otherwise such
// a reader goes on with what comes. What is left out stays in the file until the end.
func (s *Spool) Restart(stream byte, isFalse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.texts[stream-1]
	if isFalse {
		t.falseFrom, t.falseEnd = t.from, s.size
	}
	t.from, t.bytes = s.size, 0
}

// spill moves what is in memory into the file. s.mu is held.
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

// Stop says that nothing more comes: readers come to their end. What there is stays
// until End.
func (s *Spool) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.wake()
}

// End is Stop, and the last reader frees what the Spool holds.
func (s *Spool) End() {
	s.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.free()
}

// free closes the file when nobody needs it. s.mu is held.
func (s *Spool) free() {
	if s.ended && s.readers == 0 && s.file != nil {
		s.file.Close() // it has no name: it goes
		s.file, s.mem, s.size = nil, nil, 0
	}
}

// Size returns how many bytes were printed since the last Restart.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.texts[0].bytes + s.texts[1].bytes
}

// ErrGone says that the run is over and what it printed is not here any more: it is
// where the job's record says.
var ErrGone = errors.New("the output is here no longer")

// Reader is how far somebody has read. It belongs to one goroutine.
type Reader struct {
	s      *Spool
	off    int64
	chunk  int64 // where the chunk that is being read begins
	stream byte  // of it
	left   int64 // of it
	buf    []byte
	seen   [2]int64 // behind the begin of the last chunk of each stream that was shown; 0: none
}

// Open returns a reader at the first byte. The caller closes it. The error is ErrGone.
func (s *Spool) Open() (*Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended && s.size == 0 && s.printed > 0 {
		return nil, ErrGone
	}
	s.readers++
	return &Reader{s: s}, nil
}

// Close lets go of what the Spool holds for the reader.
func (r *Reader) Close() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.readers--
	r.s.free()
}

// CopyTo writes all that was and will be printed, in its order, to stdout and stderr,
// of which each may be nil, until the end. The error is the cause of ctx, or a writer's.
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

// shows reports whether the chunk that is being read is to be shown, and notes that it is.
func (r *Reader) shows(stream byte) bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.chunk < r.s.texts[stream-1].from || r.misled(stream) {
		return false
	}
	r.seen[stream-1] = r.chunk + 1
	return true
}

// misled reports whether r has shown what the guest did not print. r.s.mu is held.
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

// readAt reads a part of one chunk, which lies in memory or in the file.
func (r *Reader) readAt(p []byte) error {
	s := r.s
	s.mu.Lock()
	f := s.file
	if r.off >= s.base {
		copy(p, s.mem[r.off-s.base:])
		f = nil
	}
	s.mu.Unlock()
	if f != nil { // it stays open as long as there is a reader
		if _, err := f.ReadAt(p, r.off); err != nil {
			return fmt.Errorf("read a run's output: %w", err)
		}
	}
	r.off += int64(len(p))
	return nil
}

// wait returns when there is a chunk to read, or io.EOF.
func (r *Reader) wait(ctx context.Context) error {
	for {
		s := r.s
		s.mu.Lock()
		if r.off < s.size {
			s.mu.Unlock()
			return nil
		}
		if s.over {
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
