//go:build !windows

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// outDir is a directory in which files get their names.
type outDir struct {
	root *os.Root
	dir  *os.File // the same directory
}

func openOutDir(root *os.Root) (outDir, error) {
	dir, err := root.Open(".")
	return outDir{root, dir}, err
}

// maxInstalls is how often install looks again when what is at a name changes meanwhile.
const maxInstalls = 10

// install gives what is at temporary, a name in d, the name name. With force it takes the
// place of a regular file, and a symlink that of a symlink; nothing else is ever replaced,
// whatever comes to be at name meanwhile: a new name is given only while it is free, and with
// a name that is taken the two are swapped, looked at, and swapped back if what was there is
// not what may go. A file system that can do neither leaves a gap between the look and the
// rename. On an error temporary is there still.
func (d outDir) install(temporary, name string, force bool) error {
	made, err := d.root.Lstat(temporary)
	if err != nil {
		return err
	}
	for range maxInstalls {
		old, err := d.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			err = d.renameNew(temporary, name)
			switch {
			case !errors.Is(err, fs.ErrExist):
				return err
			case force:
				continue
			}
			return errExists(d.path(name))
		}
		if err != nil {
			return err
		}
		if !force {
			return errExists(d.path(name))
		}
		if !mayReplace(made, old) {
			return usagef("%s is %s, and not replaced", quote(d.path(name)), kindOf(old.Mode()))
		}
		err = swapNames(d.dir, temporary, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case isUnsupported(err):
			return d.root.Rename(temporary, name)
		case err != nil:
			return d.failed(name, err)
		}
		if old, err = d.root.Lstat(temporary); err == nil && mayReplace(made, old) {
			return d.root.Remove(temporary)
		}
		if err := swapNames(d.dir, temporary, name); err != nil {
			return d.failed(name, err)
		}
	}
	return d.failed(name, errors.New("it changes all the time"))
}

func (d outDir) path(name string) string { return filepath.Join(d.root.Name(), name) }

func (d outDir) failed(name string, err error) error {
	return &fs.PathError{Op: "rename", Path: d.path(name), Err: err}
}

// renameNew renames unless the new name is taken.
func (d outDir) renameNew(temporary, name string) error {
	err := renameFree(d.dir, temporary, name)
	if !isUnsupported(err) {
		if err != nil {
			return d.failed(name, err)
		}
		return nil
	}
	// A second name is never given to what is there; folders, and some file systems, have none.
	if err = d.root.Link(temporary, name); err == nil {
		return d.root.Remove(temporary)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := d.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return d.failed(name, fs.ErrExist)
	}
	return d.root.Rename(temporary, name)
}

// mayReplace reports whether what was made may take the place of old.
func mayReplace(made, old fs.FileInfo) bool {
	return old.Mode().IsRegular() && !made.IsDir() ||
		old.Mode()&fs.ModeSymlink != 0 && made.Mode()&fs.ModeSymlink != 0
}

func isUnsupported(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported)
}

// modeOf is the mode in which a file is created that takes the place of old, nil for nothing:
// until it is in its place only its owner may read what has a mode of its own.
func modeOf(old fs.FileInfo) fs.FileMode {
	if old == nil || !old.Mode().IsRegular() {
		return 0o666
	}
	return old.Mode().Perm()&0o700 | 0o200
}

// keepMode gives f the permissions of old, whose place it takes, and its owner and group as
// far as this user may. A group that it cannot have gets no permissions.
func keepMode(f *os.File, old fs.FileInfo) error {
	if old == nil || !old.Mode().IsRegular() {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	mode := old.Mode().Perm()
	is, was := info.Sys().(*syscall.Stat_t), old.Sys().(*syscall.Stat_t)
	if is.Uid != was.Uid || is.Gid != was.Gid {
		if f.Chown(int(was.Uid), int(was.Gid)) != nil && is.Gid != was.Gid && f.Chown(-1, int(was.Gid)) != nil {
			mode &^= 0o070
		}
	}
	return f.Chmod(mode)
}
