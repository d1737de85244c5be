package wire

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
)

// Stream carries the guest's output to the node, live. A write waits for a slow reader, and so
// does the guest. Its methods are safe for concurrent use.
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
	flush() // tells the node that the run has begun
	return &Stream{lines: json.NewEncoder(w), flush: flush}
}

// send writes one line. An error means that the node has gone.
func (s *Stream) send(e Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.lines.Encode(e)
	s.flush()
	return err
}

// Stdout returns the writer for the guest's stdout.
func (s *Stream) Stdout() io.Writer {
	return streamWriter{s, func(p []byte) Event { return Event{Stdout: p} }}
}

// Stderr returns the writer for the guest's stderr.
func (s *Stream) Stderr() io.Writer {
	return streamWriter{s, func(p []byte) Event { return Event{Stderr: p} }}
}

// Progress reports the guest's progress.
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
