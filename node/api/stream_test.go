package api

import (
	"net/http/httptest"
	"testing"
)

// A write after the end, from a goroutine that was not waited for, is dropped: the connection may
// already serve another request.
func TestWriteAfterEnd(t *testing.T) {
	w := httptest.NewRecorder()
	s := newStream(w)
	s.end(nil, nil)
	size := w.Body.Len()
	if _, err := (chunk{s, frameStdout}).Write(make([]byte, 2*flushSize)); err == nil {
		t.Error("output after the end was accepted")
	}
	if s.item([]byte("1")) == nil || s.event(Event{}) == nil || s.block(Block{CID: rawCID(nil)}) == nil {
		t.Error("a frame after the end was accepted")
	}
	s.setProgress(1, 2)
	s.flushLate()
	if w.Body.Len() != size {
		t.Errorf("%d bytes after the end", w.Body.Len()-size)
	}
}
