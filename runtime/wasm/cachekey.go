package wasm

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const keyBytes = 32

// loadKey returns the secret that authenticates the compilation cache in dir. It is
// kept beside dir, readable by its owner alone, and made when there is none that can
// be trusted; with a new key, what the cache holds is worthless.
func loadKey(dir string) ([keyBytes]byte, error) {
	path := dir + ".key"
	for range 3 {
		key, err := readKey(path)
		if err == nil {
			return key, nil
		}
		if err := makeKey(path); err != nil {
			return key, fmt.Errorf("make the cache's key: %w", err)
		}
	}
	return [keyBytes]byte{}, fmt.Errorf("the cache's key %s cannot be read back", path)
}

func readKey(path string) (key [keyBytes]byte, err error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return key, err
	}
	if !fi.Mode().IsRegular() || fi.Mode().Perm()&0o077 != 0 || fi.Size() != keyBytes {
		// Anyone may have read or written it.
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

// makeKey writes a new key unless another process was first.
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
