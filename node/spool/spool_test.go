package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ipfs-liftoff/liftoff/node/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made returns a Spool and the folder of its file, which would list the file if it had a name.
func made(t *testing.T) (*spool.Spool, string) {
	dir := t.TempDir()
	return &spool.Spool{Create: func() (*os.File, error) {
		f, err := os.CreateTemp(dir, "out")
		if err == nil {
			err = os.Remove(f.Name())
		}
		return f, err
	}}, dir
}

// open returns a reader that is closed at the end of the test.
func open(t *testing.T, s *spool.Spool) *spool.Reader {
	t.Helper()
	r, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Early and late readers see the same text, of any size and at any speed.
func TestReaders(t *testing.T) {
	for _, lines := range []int{0, 3, 20_000} {
		t.Run(fmt.Sprint(lines), func(t *testing.T) {
			s, dir := made(t)
			type got struct{ out, err bytes.Buffer }
			readers := make([]got, 4)
			var group sync.WaitGroup
			read := func(i int) {
				r := open(t, s)
				group.Go(func() {
					if err := r.CopyTo(t.Context(), &readers[i].out, &readers[i].err); err != nil {
						t.Error(err)
					}
				})
			}
			read(0)
			var want got
			out := io.MultiWriter(s.Writer(spool.Stdout), &want.out)
			errs := io.MultiWriter(s.Writer(spool.Stderr), &want.err)
			for i := range lines {
				fmt.Fprintf(out, "line %d\n", i)
				if i%7 == 0 {
					fmt.Fprintf(errs, "%0*d\n", i%300, i)
				}
				if i == lines/2 {
					read(1)
				}
			}
			read(2)
			if lines < 2 {
				read(1)
			}
			read(3)
			s.End()
			group.Wait()
			for i := range readers {
				if readers[i].out.String() != want.out.String() || readers[i].err.String() != want.err.String() {
					t.Errorf("reader %d has %d and %d bytes, want %d and %d", i, readers[i].out.Len(), readers[i].err.Len(), want.out.Len(), want.err.Len())
				}
			}
			if n := int64(want.out.Len() + want.err.Len()); s.Size() != n {
				t.Errorf("%d bytes, want %d", s.Size(), n)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestBound(t *testing.T) {
	s, _ := made(t)
	s.Max = 10
	if _, err := s.Writer(spool.Stdout).Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Writer(spool.Stderr).Write([]byte("x")); !errors.Is(err, spool.ErrFull) {
		t.Errorf("one byte too many: %v", err)
	}
}

// A reader that is cancelled, or whose writer fails, does not delay the writer.
func TestReaderLeaves(t *testing.T) {
	s, _ := made(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if err := open(t, s).CopyTo(ctx, io.Discard, nil); !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
	fmt.Fprint(s.Writer(spool.Stdout), "x")
	r, w := io.Pipe()
	r.Close()
	if err := open(t, s).CopyTo(t.Context(), w, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a writer that fails: %v", err)
	}
	s.End()
	if _, err := s.Writer(spool.Stdout).Write([]byte("y")); err == nil {
		t.Error("a write after the end was accepted")
	}
}

// A full disk fails the writer; readers still get the earlier text.
func TestNoFile(t *testing.T) {
	full := errors.New("no space")
	s := &spool.Spool{Create: func() (*os.File, error) { return nil, full }}
	w := s.Writer(spool.Stdout)
	if _, err := w.Write([]byte("small")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 100_000)); !errors.Is(err, full) {
		t.Fatalf("%v", err)
	}
	s.End()
	var got bytes.Buffer
	if err := open(t, s).CopyTo(t.Context(), &got, nil); err != nil || got.String() != "small" {
		t.Errorf("%q, %v", &got, err)
	}
}

// A reader that is opened after everything was released gets ErrGone.
func TestGone(t *testing.T) {
	s, _ := made(t)
	r := open(t, s)
	s.Writer(spool.Stdout).Write(make([]byte, 100_000))
	s.End()
	if err := r.CopyTo(t.Context(), io.Discard, nil); err != nil {
		t.Fatal(err)
	}
	again, err := s.Open()
	if err != nil {
		t.Fatal(err) // the first is still open
	}
	again.Close()
	s2, _ := made(t)
	s2.Writer(spool.Stdout).Write(make([]byte, 100_000))
	s2.End()
	if _, err := s2.Open(); !errors.Is(err, spool.ErrGone) {
		t.Errorf("%v", err)
	}
}
