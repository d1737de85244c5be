package dag

import (
	"context"
	"errors"
	"testing"
)

type panickingWriter struct{ err error }

func (w panickingWriter) Write([]byte) (int, error) { panic(w.err) }

// A guest that runs out of fuel inside a read ends it by a panic of the writer. The goroutine that
// reads has ended before it is passed on: the run closes what it reads from.
func TestOverlapEndsWhenTheWriterPanics(t *testing.T) {
	want, ended := errors.New("out of fuel"), false
	defer func() {
		if got := recover(); got != want {
			t.Errorf("got panic %v, want %v", got, want)
		}
		if !ended {
			t.Error("the producer runs on behind the panic of the writer")
		}
	}()
	_, _ = overlap(context.Background(), panickingWriter{want}, func(_ context.Context, emit func(func([]byte) ([]byte, error)) error) (err error) {
		for err == nil {
			err = emit(func(b []byte) ([]byte, error) { return append(b, 1), nil })
		}
		ended = true
		return err
	})
}
