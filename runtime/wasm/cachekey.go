package wasm

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const keyBytes = 32

// loadKey returns the secret that authenticates the compilation cache in dir. The key file is
// next to dir and readable by its owner only. It is created if no trustworthy one exists; a new
// key invalidates everything in the cache.
func loadKey(dir string) ([keyBytes]byte, error) {
	path := dir + ".key"
	for range 3 {
		key, err := readKey(path)
		if err == nil {
			return key, nil
		}
		if err := makeKey(path); err != nil {
			return key, fmt.Errorf("create key file of the module cache: %w", err)
		}
	}
	return [keyBytes]byte{}, fmt.Errorf("key file %s of the module cache: cannot be read back", path)
}

func readKey(path string) (key [keyBytes]byte, err error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return key, err
	}
	if !fi.Mode().IsRegular() || fi.Mode().Perm()&0o077 != 0 || fi.Size() != keyBytes {
		// Other users may have read or written it.
		if err := os.Remove(path); err != nil {
			return key, err
		}
		return key, fs.ErrNotExist
	}
	b, err := os.ReadFile(path)
	if err == nil && len(b) != keyBytes {
		err = fs.ErrNotExist
	}
	copy(key[:], b)
	return key, err
}

// makeKey writes a new key unless another process has already done so.
func makeKey(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	var key [keyBytes]byte
	rand.Read(key[:]) // never fails
	_, err = f.Write(key[:])
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	if os.IsExist(err) {
		return nil
	}
	return err
}
