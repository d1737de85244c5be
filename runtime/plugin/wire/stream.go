package wire

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
)

// Stream carries what a guest shows to the node, as it shows it. A write waits for a
// reader that is slow: so does the guest then. Methods may be called from several
// goroutines.
type Stream struct {
	mu    sync.Mutex
	lines *json.Encoder
	flush func()
}

func newStream(w http.ResponseWriter) *Stream {
	flush := func() {}
	if f, ok := w.(http.Flusher); ok {
		flush = f.Flush
	}
	flush() // the node learns that the run has begun
	return &Stream{lines: json.NewEncoder(w), flush: flush}
}

// send writes one line. Its error is the node's end.
func (s *Stream) send(e Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.lines.Encode(e)
	s.flush()
	return err
}

// Stdout returns where the guest's stdout goes.
func (s *Stream) Stdout() io.Writer {
	return streamWriter{s, func(p []byte) Event { return Event{Stdout: p} }}
}

// Stderr returns where the guest's stderr goes.
func (s *Stream) Stderr() io.Writer {
	return streamWriter{s, func(p []byte) Event { return Event{Stderr: p} }}
}

// Progress tells how far the guest says that it has come.
func (s *Stream) Progress(done, total int64) error {
	return s.send(Event{Progress: &Progress{done, total}})
}

type streamWriter struct {
	s     *Stream
	event func([]byte) Event
}

func (w streamWriter) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := min(len(p)-n, MaxLog)
		if err := w.s.send(w.event(p[n : n+k])); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}
