package docker

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// layout is read access to the files of an archive. A missing file is a refusal.
type layout interface {
	has(name string) bool
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// openLayout opens a folder or a tar file.
func openLayout(file string) (layout, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		root, err := os.OpenRoot(file)
		if err != nil {
			return nil, err
		}
		return folderLayout{root}, nil
	}
	return openTar(file)
}

// folderLayout is an unpacked archive.
type folderLayout struct{ root *os.Root }

func (l folderLayout) has(name string) bool {
	info, err := l.root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func (l folderLayout) open(name string) (io.ReadCloser, int64, error) {
	f, err := l.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) || err != nil && !filepath.IsLocal(name) {
		return nil, 0, wire.Refusef("image archive: %s not found", name)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = wire.Refusef("image archive: %s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (l folderLayout) Close() error { return l.root.Close() }

// maxEntries bounds the files of a tar archive.
const maxEntries = 10_000

// tarLayout is a tar file and the offsets of its files.
type tarLayout struct {
	file  *os.File
	parts map[string]section
}

type section struct{ offset, size int64 }

func openTar(file string) (_ *tarLayout, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	l := &tarLayout{file: f, parts: map[string]section{}}
	r := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := r.Next()
		switch {
		case err == io.EOF:
			return l, nil
		case err != nil:
			return nil, wire.Refusef("module: not an OCI archive: %v", err)
		case n >= maxEntries:
			return nil, wire.Refusef("image archive: more than %d files", maxEntries)
		case h.Typeflag != tar.TypeReg:
			continue
		}
		at, err := f.Seek(0, io.SeekCurrent) // the content begins here
		if err != nil {
			return nil, fmt.Errorf("read image archive: %w", err)
		}
		l.parts[path.Clean(h.Name)] = section{at, h.Size}
	}
}

func (l *tarLayout) has(name string) bool {
	_, ok := l.parts[name]
	return ok
}

func (l *tarLayout) open(name string) (io.ReadCloser, int64, error) {
	s, ok := l.parts[name]
	if !ok {
		return nil, 0, wire.Refusef("image archive: %s not found", name)
	}
	return io.NopCloser(io.NewSectionReader(l.file, s.offset, s.size)), s.size, nil
}

func (l *tarLayout) Close() error { return l.file.Close() }
