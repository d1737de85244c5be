package smallfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// A repo reserves disk space for its small files: in a folder Reserves the file Reserve. It is used for the files
// beside that folder, and for those in folders beside it.
const (
	Reserves = "reserve"
	Reserve  = "small"
)

// reserving is held while a reserve for small files is used. Without it a reserve that is turned into another file
// while it is filled would be filled as that file.
var reserving sync.Mutex

// FillReserve is [diskfs.Reserve.Fill] of a reserve for small files.
func FillReserve(r diskfs.Reserve) error {
	reserving.Lock()
	defer reserving.Unlock()
	return r.Fill()
}

// ReleaseReserve is [diskfs.Reserve.Release] of a reserve for small files.
func ReleaseReserve(r diskfs.Reserve) error {
	reserving.Lock()
	defer reserving.Unlock()
	return r.Release()
}

// reserveFor returns the reserve for path; without one its Path is "".
func reserveFor(path string) diskfs.Reserve {
	r := diskfs.Reserve{FS: diskfs.OS{}}
	dir := filepath.Dir(path)
	for _, dir := range []string{dir, filepath.Dir(dir)} {
		file := filepath.Join(dir, Reserves, Reserve)
		if info, err := os.Lstat(file); err == nil && info.Mode().IsRegular() {
			r.Path, r.Size = file, info.Size()
			break
		}
	}
	return r
}

// Replace writes data to path, readable by this user only, by way of path + ".new", durably: after a kill or a loss
// of power the file is the old one or the new one. On a full disk it uses the repo's reserve, which the space of the
// old file then fills again: a key can be revoked there. It replaces regular files only: a symlink may stand for a
// file that is not mounted.
func Replace(path string, data []byte) error {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("replace %s: got %v, want a regular file", path, info.Mode().Type())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return replace(reserveFor, path, data)
}

func replace(reserveFor func(string) diskfs.Reserve, path string, data []byte) error {
	reserving.Lock()
	defer reserving.Unlock()
	r := reserveFor(path)
	err := r.Write(path, path+".new", true, func(f diskfs.File) (int64, error) {
		n, err := f.WriteAt(data, 0)
		return int64(n), err
	})
	if err == nil {
		_ = r.Fill() // the rest is filled when there is space
	}
	return err
}

// MakeFolder creates the folder path, accessible to this user only, durably, unless it exists. Its parent must exist.
func MakeFolder(path string) error {
	err := os.Mkdir(path, 0o700)
	if diskfs.Full(err) {
		reserving.Lock()
		defer reserving.Unlock()
		r := reserveFor(path)
		if r.Release() == nil {
			err = os.Mkdir(path, 0o700)
			_ = r.Fill()
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return diskfs.OS{}.SyncDir(filepath.Dir(path))
}
