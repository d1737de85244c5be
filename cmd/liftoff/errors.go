//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// usageError is an invalid command line or setting.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, a ...any) error { return &usageError{fmt.Sprintf(format, a...)} }

// codeError is an error with an exit code.
type codeError struct {
	error
	code int
}

func (e *codeError) Unwrap() error { return e.error }

func notFound(err error) error { return &codeError{err, exitNotFound} }

// exited is an exit code without a message: the command has printed everything.
type exited int

func (e exited) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// hintError is an error with a hint: the next command to type.
type hintError struct {
	error
	hint string
}

func (e *hintError) Unwrap() error { return e.error }

func hinted(err error, format string, a ...any) error {
	return &hintError{err, fmt.Sprintf(format, a...)}
}

// fail prints the error with its hint and returns the exit code.
func (p *process) fail(ctx context.Context, err error) int {
	var silent exited
	switch {
	case err == nil:
		return 0
	case errors.As(err, &silent):
		return int(silent)
	case p.stdout.gone.Load():
		return exitClosed
	case ctx.Err() != nil:
		p.sayInterrupted()
		return exitInterrupted
	}
	fmt.Fprintf(p.stderr, "liftoff: error: %s\n", clean(err.Error()))
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(p.stderr, "liftoff: hint: %s\n", clean(hint))
	}
	return codeOf(err)
}

// codeOf returns the exit code of an error.
func codeOf(err error) int {
	var (
		coded   *codeError
		usage   *usageError
		remote  *api.Error
		refused *runtime.RefusedError
		notFile *dag.NotFileError
		notDir  *dag.NotDirError
	)
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &usage), errors.As(err, &notFile), errors.As(err, &notDir):
		return exitUsage
	case errors.As(err, &refused):
		return exitRefused
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	case errors.Is(err, runtime.ErrTimeout):
		return exitTimeout
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &remote):
		return codeOfAPI(remote.Code)
	}
	return exitFault
}

func codeOfAPI(code api.Code) int {
	switch code {
	case api.CodeMissing:
		return exitNotFound
	case api.CodeRefused:
		return exitRefused
	case api.CodeTimeout:
		return exitTimeout
	case api.CodeInterrupted:
		return exitInterrupted
	case api.CodeUsage:
		return exitUsage
	case api.CodeDisagree, api.CodeMismatch:
		return exitDisagree
	}
	return exitFault
}

// hintOf returns the next command to type after an error, or "".
func hintOf(err error) string {
	var (
		hint    *hintError
		remote  *api.Error
		missing *dag.NotFoundError
		damaged *dag.DamagedError
		outside *store.AttachedError
		bug     *bugError
		notFile *dag.NotFileError
		car     *dag.CARError
		locked  *store.ReadOnlyError
	)
	switch {
	case errors.As(err, &hint):
		return hint.hint
	case errors.As(err, &car): // the CAR is damaged, not the repo
		return "get the CAR again; nothing of it was pinned"
	case errors.As(err, &locked):
		return "make the repo writable, or choose another repo: export LIFTOFF_PATH=/path/to/a/folder"
	case errors.As(err, &remote) && remote.Hint != "":
		return remote.Hint
	case errors.As(err, &notFile):
		return fmt.Sprintf("liftoff ls %s", notFile.CID)
	case errors.As(err, &outside):
		return outside.Hint()
	case errors.As(err, &damaged):
		return "liftoff store check"
	case errors.As(err, &missing):
		return "liftoff car import FILE.car, with a CAR that holds the block"
	case errors.Is(err, syscall.EADDRINUSE):
		return "stop the process that listens there, or choose another port"
	case diskfs.Full(err):
		return "make room on the disk; in the repo: liftoff pin rm NAME, then liftoff gc"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "check the owner of the path, or choose another repo: export LIFTOFF_PATH=/path/to/a/folder"
	case errors.As(err, &bug):
		return "this is a bug in liftoff: please report it with the command line and the output of: liftoff version"
	}
	return ""
}

// pathError is an error about a local path that the user named: the path as it was typed, and the reason.
func pathError(path string, err error) error {
	var inner *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &inner):
		err = inner.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return fmt.Errorf("%s: %w", quote(path), err)
}

// isNotDir reports whether err says that a path cannot exist: a part of it is a file, or it is too long.
func isNotDir(err error) bool {
	return errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}
