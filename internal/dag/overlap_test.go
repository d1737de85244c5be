package dag

import (
	"context"
	"errors"
	"testing"
)

type panickingWriter struct{ err error }

func (w panickingWriter) Write([]byte) (int, error) { panic(w.err) }

// TestOverlapEndsWhenTheWriterPanics: when a guest runs out of fuel inside a read, the writer panics. The reading
// goroutine must end before the panic is passed on, because the run then closes the store that it reads from.
func TestOverlapEndsWhenTheWriterPanics(t *testing.T) {
	want, ended := errors.New("out of fuel"), false
	defer func() {
		if got := recover(); got != want {
			t.Errorf("got panic %v, want %v", got, want)
		}
		if !ended {
			t.Error("the producer still runs after the panic of the writer")
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
