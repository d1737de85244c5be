package store

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// makeFolder creates dir, accessible to this user only, and its parents with default permissions. An existing dir
// must be a folder.
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

// makeEmpty creates dir, or removes its content.
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

// removeAll removes path and its content, including folders without write permission.
func removeAll(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	filepath.WalkDir(path, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil // RemoveAll below reports what could not be changed
	})
	return os.RemoveAll(path)
}

// fsync makes a file's content, or a folder's entries, durable. Some network file systems do not support fsync of
// folders and keep entries durable themselves.
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
