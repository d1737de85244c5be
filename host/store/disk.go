package store

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// makeFolder makes dir, for this user alone, and what lies above it, as usual. What is
// there already must be a folder.
func makeFolder(dir string) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return &os.PathError{Op: "open", Path: dir, Err: errNotFolder}
		}
		return nil
	}
	if !absent(err) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	return nil
}

// makeEmpty makes dir, or removes what is in it.
func makeEmpty(dir string) error {
	if err := makeFolder(dir); err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := removeAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes path and what is in it, folders without the right to write too.
func removeAll(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	filepath.WalkDir(path, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil // what cannot be changed shows in the next line
	})
	return os.RemoveAll(path)
}

// fsync makes a file's content, or a folder's list of names, durable. Some network
// file systems know no fsync of a folder and keep its names durable themselves.
func fsync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.Sync()
	if info, e := f.Stat(); e == nil && info.IsDir() && errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}
