package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/ipfs-liftoff/liftoff/node/spool"
)

// waiting reads a spool in its own goroutine, and reports when it has read enough.
type waiting struct {
	*spool.Reader
	bytes.Buffer
	want int
	has  chan struct{} // closed when want bytes were read
	done chan error
}

func (w *waiting) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if w.want > 0 && w.Len() >= w.want {
		w.want = 0
		close(w.has)
	}
	return n, err
}

// follow reads stdout, stderr or both, as one text.
func follow(t *testing.T, s *spool.Spool, want int, stdout, stderr bool) *waiting {
	t.Helper()
	w := &waiting{Reader: open(t, s), want: want, has: make(chan struct{}), done: make(chan error, 1)}
	var out, errs io.Writer
	if stdout {
		out = w
	}
	if stderr {
		errs = w
	}
	go func() { w.done <- w.CopyTo(context.Background(), out, errs) }()
	return w
}

// Text before a Restart is not shown to later readers. If it was false, a reader that has seen it
// is told and sees no more of that stream; a reader of the other stream is not affected.
func TestRestart(t *testing.T) {
	for _, isFalse := range []bool{true, false} {
		for _, lines := range []int{1, 20_000} { // in memory; in the file
			t.Run(fmt.Sprintf("false %v, %d lines", isFalse, lines), func(t *testing.T) {
				s, _ := made(t)
				out, errs := s.Writer(spool.Stdout), s.Writer(spool.Stderr)
				for range lines {
					fmt.Fprintln(out, "false text")
				}
				falseSize := int(s.Size())
				saw, other := follow(t, s, falseSize, true, false), follow(t, s, 0, false, true)
				<-saw.has
				s.Restart(spool.Stdout, isFalse)
				if s.Size() != 0 {
					t.Errorf("size: got %d", s.Size())
				}
				late := follow(t, s, 0, true, true)
				io.WriteString(out, "the truth\n")
				io.WriteString(errs, "to stderr\n")
				s.Stop()
				for _, w := range []*waiting{saw, other, late} {
					if err := <-w.done; err != nil {
						t.Error(err)
					}
				}
				if got := late.String(); got != "the truth\nto stderr\n" {
					t.Errorf("a later reader got %q", got)
				}
				if got := other.String(); got != "to stderr\n" {
					t.Errorf("stderr is %q", got)
				}
				rest := "the truth\n"
				if isFalse {
					rest = ""
				}
				if got := saw.String()[falseSize:]; got != rest {
					t.Errorf("an earlier reader continued with %q, want %q", got, rest)
				}
				for _, r := range []struct {
					*waiting
					misled bool
				}{{saw, isFalse}, {other, false}, {late, false}} {
					if a, b := r.Misled(); a != r.misled || b {
						t.Errorf("misled: got %v, %v; want %v, false", a, b, r.misled)
					}
				}
				s.End()
			})
		}
	}
}

// Only text after the last Restart counts for the limit.
func TestRestartFreesSpace(t *testing.T) {
	s, _ := made(t)
	s.Max = 10
	for range 2 {
		if _, err := io.WriteString(s.Writer(spool.Stdout), "0123456789"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(s.Writer(spool.Stderr), "x"); !errors.Is(err, spool.ErrFull) {
			t.Fatalf("more than the limit: %v", err)
		}
		s.Restart(spool.Stdout, false)
	}
}
