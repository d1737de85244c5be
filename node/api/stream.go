package api

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// When the frames of a stream are flushed: flushAfter after the first unsent byte, or at flushSize
// bytes. So a guest that prints line by line costs few system calls, and its reader sees each line
// almost at once.
const (
	flushAfter = 2 * time.Millisecond
	flushSize  = 32 << 10
)

// stream writes the frames of one answer. Its methods may be called from several goroutines. An
// error of the connection stays; so does the end of the stream: later writes are dropped.
type stream struct {
	w     http.ResponseWriter
	timer *time.Timer // flushes; runs while armed

	mu       sync.Mutex
	buf      []byte
	open     int // index in buf of the last frame while it can still grow; else -1
	progress *[16]byte
	armed    bool
	err      error
}

// errEnded is the error of a write after the end.
var errEnded = errors.New("write after the end of the API answer")

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/vnd.liftoff.frames")
	s := &stream{w: w, open: -1}
	s.timer = time.AfterFunc(time.Hour, s.flushLate)
	s.timer.Stop()
	return s
}

func (s *stream) flushLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	s.flush()
}

// flush sends buf. s.mu is held.
func (s *stream) flush() {
	s.settle()
	if len(s.buf) > 0 && s.err == nil {
		if _, s.err = s.w.Write(s.buf); s.err == nil {
			s.err = http.NewResponseController(s.w).Flush()
		}
	}
	s.buf = s.buf[:0]
}

// settle completes the open frame and appends a pending progress frame. s.mu is held.
func (s *stream) settle() {
	s.closeFrame()
	if s.progress != nil {
		s.appendFrame(frameProgress, s.progress[:])
		s.progress = nil
	}
}

func (s *stream) appendFrame(typ byte, p []byte) {
	s.buf = append(s.buf, typ)
	s.buf = binary.BigEndian.AppendUint32(s.buf, uint32(len(p)))
	s.buf = append(s.buf, p...)
}

func (s *stream) closeFrame() {
	if s.open >= 0 {
		binary.BigEndian.PutUint32(s.buf[s.open+1:], uint32(len(s.buf)-s.open-frameHeader))
		s.open = -1
	}
}

// wait flushes a large buf at once and arms the timer for a small one. s.mu is held.
func (s *stream) wait() error {
	if len(s.buf) >= flushSize || s.err != nil {
		s.flush()
	} else if !s.armed {
		s.armed = true
		s.timer.Reset(flushAfter)
	}
	return s.err
}

// chunk is an io.Writer for one output stream of the guest.
type chunk struct {
	s   *stream
	typ byte
}

// Write appends p to the open frame if it has the same type.
func (c chunk) Write(p []byte) (int, error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for done := 0; done < len(p); {
		if s.open < 0 || s.buf[s.open] != c.typ {
			s.closeFrame()
			s.open = len(s.buf)
			s.buf = append(s.buf, c.typ, 0, 0, 0, 0)
		}
		// A frame is always shorter than maxChunk, because a flush at flushSize ends it.
		n := min(len(p)-done, flushSize)
		s.buf = append(s.buf, p[done:done+n]...)
		done += n
		if err := s.wait(); err != nil {
			return done, err
		}
	}
	return len(p), s.err
}

// setProgress replaces a progress frame that was not sent yet.
func (s *stream) setProgress(done, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var p [16]byte
	binary.BigEndian.PutUint64(p[:8], uint64(done))
	binary.BigEndian.PutUint64(p[8:], uint64(total))
	s.progress = &p
	s.wait()
}

// block appends a block frame.
func (s *stream) block(b Block) error {
	if len(b.Data) > MaxBlock || b.CID.ByteLen() > maxCID {
		return fmt.Errorf("block %s: got %d bytes, want at most %d", b.CID, len(b.Data), MaxBlock)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeFrame()
	s.buf = append(s.buf, frameBlock)
	s.buf = binary.BigEndian.AppendUint32(s.buf, uint32(b.CID.ByteLen()+len(b.Data)))
	s.buf = append(s.buf, b.CID.Bytes()...)
	s.buf = append(s.buf, b.Data...)
	return s.wait()
}

// item appends one element of a list: JSON of at most maxJSON bytes.
func (s *stream) item(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeFrame()
	s.appendFrame(frameItem, b)
	return s.wait()
}

// event appends an Event. One that is too large loses its Fields and the end of its Text.
func (s *stream) event(e Event) error {
	b, err := json.Marshal(e)
	if err == nil && len(b) > maxEvent {
		e.Fields, e.Text = nil, strings.ToValidUTF8(e.Text[:min(len(e.Text), maxEvent/16)], "")
		b, err = json.Marshal(e)
	}
	if err == nil && len(b) > maxEvent {
		err = fmt.Errorf("job event: got %d bytes, want at most %d", len(b), maxEvent)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeFrame()
	s.appendFrame(frameEvent, b)
	return s.wait()
}

// end writes the last frame: the return value of the call as JSON, and its error.
func (s *stream) end(value []byte, err error) {
	e := ending{Value: value, Err: AsError(err)}
	b, err := json.Marshal(e)
	if err == nil && len(b) > maxJSON {
		err = Errorf(CodeFault, "API answer: got %d bytes, want at most %d", len(b), maxJSON)
	}
	if err != nil {
		b, _ = json.Marshal(ending{Err: AsError(err)}) // two strings: cannot fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	s.appendFrame(frameEnd, b)
	s.flush()
	s.err = errEnded
	s.timer.Stop()
}
