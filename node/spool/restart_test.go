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

// waiting reads a spool in a goroutine of its own, and says when it has read enough.
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

// follow reads stdout and stderr, of which one may be left out, as one text.
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

// Text that is taken back is not shown to a reader that comes later. One that has seen it
// is told, and sees no more of it; one of the other stream is not disturbed.
func TestRestart(t *testing.T) {
	for _, isFalse := range []bool{true, false} {
		for _, lines := range []int{1, 20_000} { // in memory; in the file
			t.Run(fmt.Sprintf("false %v, %d lines", isFalse, lines), func(t *testing.T) {
				s, _ := made(t)
				out, errs := s.Writer(spool.Stdout), s.Writer(spool.Stderr)
				for range lines {
					fmt.Fprintln(out, "a lie")
				}
				lie := int(s.Size())
				saw, other := follow(t, s, lie, true, false), follow(t, s, 0, false, true)
				<-saw.has
				s.Restart(spool.Stdout, isFalse)
				if s.Size() != 0 {
					t.Errorf("it holds %d bytes of text", s.Size())
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
					t.Errorf("who comes later reads %q", got)
				}
				if got := other.String(); got != "to stderr\n" {
					t.Errorf("stderr is %q", got)
				}
				rest := "the truth\n"
				if isFalse {
					rest = ""
				}
				if got := saw.String()[lie:]; got != rest {
					t.Errorf("who has seen it reads on with %q, want %q", got, rest)
				}
				for _, r := range []struct {
					*waiting
					misled bool
				}{{saw, isFalse}, {other, false}, {late, false}} {
					if a, b := r.Misled(); a != r.misled || b {
						t.Errorf("misled: %v, %v; want %v, false", a, b, r.misled)
					}
				}
				s.End()
			})
		}
	}
}

// The bound is for the text that counts: what was taken back takes no room of it.
func TestRestartGivesRoom(t *testing.T) {
	s, _ := made(t)
	s.Max = 10
	for range 2 {
		if _, err := io.WriteString(s.Writer(spool.Stdout), "0123456789"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(s.Writer(spool.Stderr), "x"); !errors.Is(err, spool.ErrFull) {
			t.Fatalf("more than the bound: %v", err)
		}
		s.Restart(spool.Stdout, false)
	}
}
