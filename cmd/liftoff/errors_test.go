//go:build !windows

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

func TestExitCodes(t *testing.T) {
	c := job.CIDOf(nil)
	for _, test := range []struct {
		err  error
		code int
	}{
		{usagef("x"), 129},
		{hinted(usagef("x"), "y"), 129},
		{api.Errorf(api.CodeUsage, "x"), 129},
		{api.Errorf(api.CodeConflict, "x"), 125},
		{&dag.NotFileError{CID: c, Is: "a directory"}, 129},
		{notFound(errors.New("x")), 127},
		{fmt.Errorf("a: %w", fs.ErrNotExist), 127},
		{api.Errorf(api.CodeMissing, "x"), 127},
		{notFound(&dag.NotFoundError{CID: c}), 127},
		{&dag.NotFoundError{CID: c}, 125}, // in the middle of something
		{&dag.DamagedError{CID: c}, 125},
		{api.Errorf(api.CodeFault, "x"), 125},
		{api.Errorf("of the future", "x"), 125},
		{syscall.ENOSPC, 125},
		{&bugError{"x"}, 125},
		{runtime.Refusef("x"), 126},
		{api.Errorf(api.CodeRefused, "x"), 126},
		{api.Errorf(api.CodeTimeout, "x"), 124},
		{runtime.ErrTimeout, 124},
		{api.Errorf(api.CodeInterrupted, "x"), 130},
		{fmt.Errorf("a: %w", context.Canceled), 130},
		{exited(3), 3},
		{nil, 0},
	} {
		var stderr bytes.Buffer
		p := newProcess(strings.NewReader(""), &bytes.Buffer{}, &stderr, nil)
		if code := p.fail(t.Context(), test.err); code != test.code {
			t.Errorf("%v: exit code %d, want %d", test.err, code, test.code)
		}
		if quiet := test.err == nil || test.err == error(exited(3)); quiet != (stderr.Len() == 0) {
			t.Errorf("%v: stderr %q", test.err, stderr.String())
		}
	}
}

func TestHints(t *testing.T) {
	damaged := &dag.DamagedError{CID: job.CIDOf(nil)}
	for _, test := range []struct {
		err  error
		hint string // its beginning
	}{
		{fmt.Errorf("read: %w", damaged), "liftoff store check"},
		{fmt.Errorf("import a.car: %w", &dag.CARError{Offset: 59, Err: damaged}), "get the CAR again"},
		{fmt.Errorf("add a: %w", &store.ReadOnlyError{Dir: "/r"}), "make the repo writable"},
		{hinted(&store.ReadOnlyError{Dir: "/r"}, "x"), "x"},
		{&api.Error{Code: api.CodeFault, Message: "x", Hint: "y"}, "y"},
		{syscall.ENOSPC, "make room"},
		{syscall.EDQUOT, "make room"},
	} {
		if hint := hintOf(test.err); !strings.HasPrefix(hint, test.hint) {
			t.Errorf("%v: hint %q, want %q", test.err, hint, test.hint)
		}
	}
	if hint := hintOf(errors.New("x")); hint != "" {
		t.Errorf("hint: got %q, want none", hint)
	}
}

// TestHostileMessage prints an error whose text imitates other lines.
func TestHostileMessage(t *testing.T) {
	var stderr bytes.Buffer
	p := newProcess(strings.NewReader(""), &bytes.Buffer{}, &stderr, nil)
	p.fail(t.Context(), &api.Error{Code: api.CodeFault, Message: "a\nliftoff: error: b\x1b[2J", Hint: "c\rd"})
	const want = "liftoff: error: a\\nliftoff: error: b\ufffd[2J\nliftoff: hint: c\ufffdd\n"
	if stderr.String() != want {
		t.Errorf("%q, want %q", stderr.String(), want)
	}
}

// closedPipe is a standard output whose reader has closed it.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestClosedStdout(t *testing.T) {
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"liftoff", "version"}, strings.NewReader(""), closedPipe{}, &stderr, func(string) string { return "" })
	if code != 141 || stderr.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
}

func TestWorse(t *testing.T) {
	order := []int{0, 1, 119, 255, exitTrap, exitFuel, exitLimit, exitTimeout, exitRefused, exitNotFound, exitFault, exitUsage, exitInterrupted}
	for i, a := range order {
		for _, b := range order[i:] {
			if worse(a, b) != b || worse(b, a) != b {
				t.Errorf("worse(%d, %d) = %d and %d, want %d", a, b, worse(a, b), worse(b, a), b)
			}
		}
	}
}
