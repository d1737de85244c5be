//go:build !windows

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// outDir is a directory in which complete files get their final names.
type outDir struct {
	root *os.Root
	dir  *os.File // the same directory
}

func openOutDir(root *os.Root) (outDir, error) {
	dir, err := root.Open(".")
	return outDir{root, dir}, err
}

// maxInstalls bounds how often install tries again after another process has changed the name.
const maxInstalls = 10

// install renames temporary to name; both are in d. With force it replaces a regular file, or
// a symlink by a symlink. Nothing else is ever replaced, even if another process changes name:
// a free name is taken only while it is free, and a taken name is swapped with temporary,
// checked, and swapped back if the old file must not be replaced. A file system that supports
// neither leaves a gap between the check and the rename. After an error temporary still exists.
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
			return usagef("output path %s is %s: refusing to replace it", quote(d.path(name)), kindOf(old.Mode()))
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
	return d.failed(name, errors.New("another process keeps changing this output path"))
}

func (d outDir) path(name string) string { return filepath.Join(d.root.Name(), name) }

func (d outDir) failed(name string, err error) error {
	return &fs.PathError{Op: "rename", Path: d.path(name), Err: err}
}

// renameNew renames temporary unless the new name is taken.
func (d outDir) renameNew(temporary, name string) error {
	err := renameFree(d.dir, temporary, name)
	if !isUnsupported(err) {
		if err != nil {
			return d.failed(name, err)
		}
		return nil
	}
	// A hard link never replaces a file; folders, and some file systems, have none.
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

// mayReplace reports whether the new file made may replace old.
func mayReplace(made, old fs.FileInfo) bool {
	return old.Mode().IsRegular() && !made.IsDir() ||
		old.Mode()&fs.ModeSymlink != 0 && made.Mode()&fs.ModeSymlink != 0
}

func isUnsupported(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported)
}

// modeOf is the mode with which a file is created that replaces old; nil: nothing. Until it is
// in its place, only its owner may read a file that replaces another one.
func modeOf(old fs.FileInfo) fs.FileMode {
	if old == nil || !old.Mode().IsRegular() {
		return 0o666
	}
	return old.Mode().Perm()&0o700 | 0o200
}

// keepMode gives f the permissions of old, which it replaces, and the owner and group as far as
// this user may set them. When the group cannot be set, it gets no permissions.
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
