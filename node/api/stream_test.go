package api

import (
	"net/http/httptest"
	"testing"
)

// What is written behind the end, by a goroutine that was not waited for, goes nowhere: the
// answer may be somebody else's by then.
func TestNothingBehindTheEnd(t *testing.T) {
	w := httptest.NewRecorder()
	s := newStream(w)
	s.end(nil, nil)
	size := w.Body.Len()
	if _, err := (chunk{s, frameStdout}).Write(make([]byte, 2*flushSize)); err == nil {
		t.Error("output behind the end is taken")
	}
	if s.item([]byte("1")) == nil || s.event(Event{}) == nil || s.block(Block{CID: rawCID(nil)}) == nil {
		t.Error("a frame behind the end is taken")
	}
	s.setProgress(1, 2)
	s.flushLate()
	if w.Body.Len() != size {
		t.Errorf("%d bytes behind the end", w.Body.Len()-size)
	}
}
