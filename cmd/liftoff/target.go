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

// target is the place that an output path refers to. Every command that writes to a path of
// the user calls findTarget first and treats an existing file as docs/operations.md ("Output
// files") says: a regular file is replaced, a device or a FIFO is written into, and nothing
// else is changed.
type target struct {
	name string      // as on the command line
	path string      // name with symlinks resolved; of a stream, name
	info fs.FileInfo // of the file at path; nil: no file
}

// findTarget examines name and opens nothing. A symlink is followed; one to a missing file is
// refused.
func findTarget(name string) (target, error) {
	t := target{name: name, path: filepath.Clean(name)}
	if name == "-" {
		return t, hinted(usagef("output path - is stdout, which this command uses for its answer"), "use a file name; a file named - is ./-")
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
	// The kernel follows it first, and may refuse: for example a link of another user in /tmp.
	if t.info, err = os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return t, usagef("output path %s is a symlink to a path that does not exist", quote(name))
	}
	if err != nil {
		return t, pathError(name, err)
	}
	if t.isStream() {
		return t, nil // opened by its name: /dev/fd/3 may lead to a file without a path
	}
	if t.path, err = filepath.EvalSymlinks(name); err != nil {
		return t, pathError(name, err)
	}
	if info, err := os.Lstat(t.path); err != nil || !os.SameFile(info, t.info) {
		return t, fmt.Errorf("output path %s: the symlink leads to a file without a path, or it has just been changed", quote(name))
	}
	return t, nil
}

// isStream reports whether t is a device or a FIFO, which is written into and never replaced.
func (t target) isStream() bool { return t.info != nil && isStream(t.info.Mode()) }

func isStream(m fs.FileMode) bool { return m&(fs.ModeCharDevice|fs.ModeNamedPipe) != 0 }

// kindOf is the name of a file type in messages.
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

// takesFile returns an error if no file can be written to t. With force, a regular file may be replaced.
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
		return usagef("output path %s is a folder, want a file", quote(t.name))
	case !t.info.Mode().IsRegular():
		return usagef("output path %s is %s: refusing to write there", quote(t.name), kindOf(t.info.Mode()))
	case !force:
		return errExists(t.name)
	}
	return nil
}

// takesAny returns an error if neither a file nor a folder can be written to t. An empty folder
// may be replaced; with force, any folder may be written into.
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
	return hinted(fmt.Errorf("output path %s already exists", quote(name)), "add --output with another path, or --force to replace it")
}

// stream calls write with the device or the FIFO t. Opening a FIFO waits for its reader; that,
// and each write, ends with ctx. A reader that ends first is an error with the exit code of a
// closed stdout.
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

// open opens the stream t. It never creates or truncates a file, so that another file in its
// place stays unchanged.
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
			r = <-opened // opening a FIFO needs a reader
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
		return nil, fmt.Errorf("output path %s was changed while it was opened", quote(t.name))
	}
	return r.f, nil
}
