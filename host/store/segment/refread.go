package segment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Reference reads blocks in place, from attached files. Its methods may be called concurrently.
//
// A whole block is accepted if its checksum matches and its file's attributes are unchanged: size, times, inode and
// device. Otherwise it is hashed. A program that has a file mapped can change it without changing the attributes or a
// CRC. Therefore partial reads and [Reference.GetHashed] hash the whole block at its first use in this process, and
// afterwards compare it with keyed sums of its pages. Bytes that no longer match the multihash are refused.
type Reference struct {
	table   *table
	files   []AttachedFile
	handles handles
	pages   pageSums
}

// OpenReference opens what a Recorder has written. A *DamageError means that it must be rebuilt.
func OpenReference(dir string) (*Reference, error) {
	path := filepath.Join(dir, referenceFiles)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	line, sum, _ := bytes.Cut(b, []byte("\n"))
	r := &Reference{pages: newKeyedSums()}
	if string(sum) != fmt.Sprintf("%08x\n", crc32.Checksum(line, castagnoli)) || json.Unmarshal(line, &r.files) != nil {
		return nil, &DamageError{path, "checksum of the list of attached files does not match"}
	}
	if r.table, err = openTable(diskfs.OS{}, filepath.Join(dir, referenceIndex)); err != nil {
		return nil, err
	}
	r.handles.open = func(n uint32) (diskfs.File, error) {
		// Non-blocking: opening must not hang if a pipe replaced the file.
		f, err := os.OpenFile(r.files[n].Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		return diskfs.Wrap(f), nil
	}
	return r, nil
}

// Files returns the attached files.
func (r *Reference) Files() []AttachedFile { return r.files }

// Blocks returns the number of blocks.
func (r *Reference) Blocks() int64 { return int64(r.table.records) }

// Size returns the size of key's block without reading it, or ErrAbsent.
func (r *Reference) Size(mh multihash.Multihash) (int64, error) {
	p, err := r.find(mh)
	return int64(p.size), err
}

func (r *Reference) find(mh multihash.Multihash) (place, error) {
	p, ok, err := r.table.find(keyOf(mh))
	if err == nil && (!ok || int64(p.seg) >= int64(len(r.files))) {
		err = ErrAbsent
	}
	return p, err
}

// Get returns a copy of the block of key.
func (r *Reference) Get(mh multihash.Multihash) ([]byte, error) {
	p, err := r.find(mh)
	if err != nil {
		return nil, err
	}
	b := make([]byte, p.size)
	if err = r.read(p, mh, b); err != nil {
		return nil, err
	}
	return b, nil
}

// GetHashed is like Get, but does not trust the checksum and the file's attributes: it hashes the bytes or compares
// them with keyed sums.
func (r *Reference) GetHashed(mh multihash.Multihash) ([]byte, error) {
	p, err := r.find(mh)
	if err != nil {
		return nil, err
	}
	b := make([]byte, p.size)
	if err := r.readHashed(p, mh, b, 0); err != nil {
		return nil, err
	}
	return b, nil
}

// ReadPart is like [Store.ReadPart]. A whole block is checked as by Get, a part as by GetHashed.
func (r *Reference) ReadPart(mh multihash.Multihash, b []byte, off int64) (n int, size int64, err error) {
	return r.readPart(mh, b, off, false)
}

// ReadPartHashed is ReadPart, checked as by GetHashed.
func (r *Reference) ReadPartHashed(mh multihash.Multihash, b []byte, off int64) (n int, size int64, err error) {
	return r.readPart(mh, b, off, true)
}

func (r *Reference) readPart(mh multihash.Multihash, b []byte, off int64, hashed bool) (n int, size int64, err error) {
	if off < 0 {
		return 0, 0, fmt.Errorf("read block: negative offset %d", off)
	}
	p, err := r.find(mh)
	if err != nil {
		return 0, 0, err
	}
	size = int64(p.size)
	n = int(min(int64(len(b)), max(0, size-off)))
	if off == 0 && int64(n) == size && !hashed {
		err = r.read(p, mh, b[:n])
	} else {
		err = r.readHashed(p, mh, b[:n], min(off, size))
	}
	if err != nil {
		return 0, 0, err
	}
	return n, size, nil
}

// readHashed fills b with the verified bytes of a block from off.
func (r *Reference) readHashed(p place, mh multihash.Multihash, b []byte, off int64) error {
	h, err := r.handle(p)
	if err != nil {
		return err
	}
	defer h.release()
	raw := func(b []byte, off int64) error {
		if _, err := h.ReadAt(b, p.at+off); err != nil && len(b) > 0 {
			return r.changed(p, err)
		}
		return nil
	}
	if sums := r.pages.get(p); sums != nil {
		ok, err := r.pages.read(sums, int64(p.size), b, off, raw)
		if err == nil && !ok {
			err = r.changed(p, nil)
		}
		return err
	}
	whole := b
	if len(b) != int(p.size) {
		buf := getBuffer(int(p.size))
		defer putBuffer(buf)
		whole = (*buf)[:p.size]
	}
	if err := raw(whole, 0); err != nil {
		return err
	}
	if !hashes(mh, whole) {
		return r.changed(p, nil)
	}
	r.pages.add(p, whole)
	if len(b) != int(p.size) {
		copy(b, whole[off:])
	}
	return nil
}

// handle opens p's file. The caller must release it.
func (r *Reference) handle(p place) (*handle, error) {
	h, err := r.handles.get(p.seg)
	if err != nil {
		return nil, r.changed(p, err)
	}
	return h, nil
}

// open opens p's file and reports whether its attributes are unchanged. The caller must release it.
func (r *Reference) open(p place) (h *handle, same bool, err error) {
	if h, err = r.handle(p); err != nil {
		return nil, false, err
	}
	f := r.files[p.seg]
	info, err := h.File.(interface{ Stat() (fs.FileInfo, error) }).Stat()
	if err != nil || !info.Mode().IsRegular() {
		h.release()
		return nil, false, r.changed(p, err)
	}
	return h, describe(f.Path, info) == f, nil
}

// read fills b with the block and checks it: by its checksum if the file's attributes are unchanged, otherwise by its
// hash.
func (r *Reference) read(p place, mh multihash.Multihash, b []byte) error {
	h, same, err := r.open(p)
	if err != nil {
		return err
	}
	defer h.release()
	if _, err := h.ReadAt(b, p.at); err != nil && len(b) > 0 {
		return r.changed(p, err)
	}
	if same && sumOf(mh, b) == p.sum || !same && hashes(mh, b) {
		return nil
	}
	return r.changed(p, nil)
}

func (r *Reference) changed(p place, err error) error {
	r.handles.drop(p.seg) // another file may have replaced it: reopen it at the next read
	why := "changed since it was attached"
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		why = "file is missing"
	case err != nil && !errors.Is(err, io.EOF):
		why = "cannot be read: " + err.Error()
	}
	return &DamageError{r.files[p.seg].Path, why}
}

// Changed returns the files that are missing or whose attributes have changed.
func (r *Reference) Changed() (paths []string) {
	for _, f := range r.files {
		if now, err := Stat(f.Path); err != nil || now != f {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// Bytes returns the total size of the blocks. It reads the whole index.
func (r *Reference) Bytes() (sum int64, err error) {
	src := &tableSource{t: r.table}
	for {
		rec, ok, err := src.next()
		if err != nil || !ok {
			return sum, err
		}
		sum += int64(rec.size)
	}
}

// Close closes the files.
func (r *Reference) Close() error {
	r.handles.close()
	return r.table.release()
}
