//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// target is what a path that the user named for output refers to. Every command that writes
// to such a path asks findTarget first, and does with what is there what docs/operations.md
// ("Output files") says: a regular file is replaced, a device or a FIFO is written into, and
// nothing else is touched.
type target struct {
	name string      // as the user wrote it
	path string      // where its symlinks lead; of a stream, name
	info fs.FileInfo // of what is at path; nil: nothing is
}

// findTarget looks at name and opens nothing. A symlink stands for what it leads to; one that
// leads nowhere is refused.
func findTarget(name string) (target, error) {
	t := target{name: name, path: filepath.Clean(name)}
	if name == "-" {
		return t, hinted(usagef("- is stdout, and the answer of this command goes there"), "name a file; one that is called - is ./-")
	}
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, pathError(name, err)
	}
	t.info = info
	if info.Mode()&fs.ModeSymlink == 0 {
		return t, nil
	}
	// The kernel follows it first: what it refuses, as a link that another user has put into
	// /tmp, is refused here.
	if t.info, err = os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return t, usagef("%s is a symlink to a path that does not exist", quote(name))
	}
	if err != nil {
		return t, pathError(name, err)
	}
	if t.isStream() {
		return t, nil // opened by its name: /dev/fd/3 may lead to what has no path
	}
	if t.path, err = filepath.EvalSymlinks(name); err != nil {
		return t, pathError(name, err)
	}
	if info, err := os.Lstat(t.path); err != nil || !os.SameFile(info, t.info) {
		return t, fmt.Errorf("%s: the symlink leads to a file without a path, or was changed meanwhile", quote(name))
	}
	return t, nil
}

// isStream reports whether t is a device or a FIFO: what is written into as it is.
func (t target) isStream() bool { return t.info != nil && isStream(t.info.Mode()) }

func isStream(m fs.FileMode) bool { return m&(fs.ModeCharDevice|fs.ModeNamedPipe) != 0 }

// kindOf names a type of file in messages.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "a regular file"
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a symlink"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeCharDevice != 0:
		return "a character device"
	case m&fs.ModeDevice != 0:
		return "a block device"
	}
	return "a special file"
}

// takesFile reports why no file can be written to t. With force, a regular file is replaced.
func (t target) takesFile(force bool) error {
	switch {
	case t.info == nil:
		folder := filepath.Dir(t.path)
		if _, err := os.Stat(folder); err != nil {
			return pathError(folder, err)
		}
		return nil
	case t.isStream():
		return nil
	case t.info.IsDir():
		return usagef("%s is a folder, want a file", quote(t.name))
	case !t.info.Mode().IsRegular():
		return usagef("%s is %s: nothing is written there", quote(t.name), kindOf(t.info.Mode()))
	case !force:
		return errExists(t.name)
	}
	return nil
}

// takesAny reports why neither a file nor a folder can be written to t. Into an empty folder
// one can be, with force into any.
func (t target) takesAny(force bool) error {
	if t.info == nil || !t.info.IsDir() {
		return t.takesFile(force)
	}
	entries, err := os.ReadDir(t.path)
	if err != nil {
		return pathError(t.name, err)
	}
	if len(entries) > 0 && !force {
		return errExists(t.name)
	}
	return nil
}

func errExists(name string) error {
	return hinted(usagef("%s is there already", quote(name)), "choose another place with --output, or write over it with --force")
}

// stream has write write into the device or the FIFO t. Opening a FIFO waits for its reader;
// that, and each write, ends with ctx. A reader that ends first is an error with the exit
// code that a closed stdout has.
func (t target) stream(ctx context.Context, write func(io.Writer) error) error {
	f, err := t.open(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { f.SetWriteDeadline(time.Unix(1, 0)) })
	err = errors.Join(write(f), f.Close())
	stop()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.EPIPE):
		return &codeError{err, exitClosed}
	}
	return err
}

// open opens the stream t. It never creates or truncates: if something else has come to its
// place, it is not changed.
func (t target) open(ctx context.Context) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	opened := make(chan result, 1)
	go func() {
		f, err := os.OpenFile(t.path, os.O_WRONLY|syscall.O_NOCTTY, 0)
		opened <- result{f, err}
	}()
	var r result
	select {
	case r = <-opened:
	case <-ctx.Done():
		if reader, err := os.OpenFile(t.path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
			r = <-opened // a FIFO without a reader had to have one
			reader.Close()
		}
		if r.f != nil {
			r.f.Close()
		}
		return nil, context.Cause(ctx)
	}
	if r.err != nil {
		return nil, pathError(t.name, r.err)
	}
	if info, err := r.f.Stat(); err != nil || !os.SameFile(info, t.info) || !isStream(info.Mode()) {
		r.f.Close()
		return nil, fmt.Errorf("%s was changed while it was opened", quote(t.name))
	}
	return r.f, nil
}
