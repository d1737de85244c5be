package segment

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Foreign is a file that is not ours, as it was when it was looked at.
type Foreign struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"modified"` // nanoseconds since 1970
}

// Stat describes the file at path, which has to be a regular one.
func Stat(path string) (Foreign, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Foreign{}, err
	}
	if !info.Mode().IsRegular() {
		return Foreign{}, &os.PathError{Op: "read", Path: path, Err: errors.New("it is not a regular file")}
	}
	return Foreign{path, info.Size(), info.ModTime().UnixNano()}, nil
}

// Recorder gathers where blocks lie in foreign files. Its methods may be called from several
// goroutines.
type Recorder struct {
	mu      sync.Mutex
	files   []Foreign
	records []record
}

// File adds a file and returns its number.
func (r *Recorder) File(f Foreign) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = append(r.files, f)
	return uint32(len(r.files) - 1)
}

// Add enters a block, which begins at a byte of a file.
func (r *Recorder) Add(mh multihash.Multihash, data []byte, file uint32, at int64) error {
	if len(mh) > MaxKey {
		return fmt.Errorf("a multihash of %d bytes, at most %d are kept", len(mh), MaxKey)
	}
	rec := record{keyOf(mh), place{seg: file, at: at, size: uint32(len(data)), sum: sumOf(mh, data)}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec)
	return nil
}

// What a Reference is made of, in its folder.
const (
	referenceIndex = "blocks.index"
	referenceFiles = "files.json"
)

// Write makes a Reference in dir, an empty folder. The list of files comes last: with it the Reference is
// whole.
func (r *Recorder) Write(dir string) error {
	slices.SortFunc(r.records, func(a, b record) int {
		return cmp.Or(a.key.compare(b.key), cmp.Compare(a.seg, b.seg), cmp.Compare(a.at, b.at))
	})
	r.records = slices.CompactFunc(r.records, func(a, b record) bool { return a.key == b.key })
	f, err := diskfs.OS{}.Create(filepath.Join(dir, referenceIndex))
	if err != nil {
		return err
	}
	b := &builder{file: f}
	for _, rec := range r.records {
		if err = b.add(rec); err != nil {
			break
		}
	}
	if err == nil {
		err = b.finish(span{})
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	line, err := json.Marshal(r.files)
	if err != nil {
		return err
	}
	line = fmt.Appendf(line, "\n%08x\n", crc32.Checksum(line, castagnoli))
	if f, err = (diskfs.OS{}).Create(filepath.Join(dir, referenceFiles)); err != nil {
		return err
	}
	_, err = f.WriteAt(line, 0)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = diskfs.OS{}.SyncDir(dir)
	}
	return err
}

// Reference reads blocks where they lie in files of other people. A file is believed as long as it has the
// size and the time of change that it had; from then on what is read from it is hashed, and what
// no longer fits its name refused. Its methods may be called from several goroutines.
type Reference struct {
	table   *table
	files   []Foreign
	handles handles
	checked checkedSet
}

// OpenReference opens what a Recorder has written. A *DamageError says that it has to be made again.
func OpenReference(dir string) (*Reference, error) {
	path := filepath.Join(dir, referenceFiles)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	line, sum, _ := bytes.Cut(b, []byte("\n"))
	r := &Reference{}
	if string(sum) != fmt.Sprintf("%08x\n", crc32.Checksum(line, castagnoli)) || json.Unmarshal(line, &r.files) != nil {
		return nil, &DamageError{path, "its checksum does not match"}
	}
	if r.table, err = openTable(diskfs.OS{}, filepath.Join(dir, referenceIndex)); err != nil {
		return nil, err
	}
	r.handles.open = func(n uint32) (diskfs.File, error) {
		// A pipe that has taken a file's place must not be waited for.
		f, err := os.OpenFile(r.files[n].Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		return diskfs.Wrap(f), nil
	}
	return r, nil
}

// Files returns the files that are read.
func (r *Reference) Files() []Foreign { return r.files }

// Blocks returns how many there are.
func (r *Reference) Blocks() int64 { return int64(r.table.records) }

// Size returns how many bytes key has, without reading them, or ErrAbsent.
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

// Get returns the bytes of key, which are the caller's.
func (r *Reference) Get(mh multihash.Multihash) ([]byte, error) {
	p, err := r.find(mh)
	if err != nil {
		return nil, err
	}
	b := make([]byte, p.size)
	if _, err = r.read(p, mh, b); err != nil {
		return nil, err
	}
	return b, nil
}

// ReadPart is as [Store.ReadPart].
func (r *Reference) ReadPart(mh multihash.Multihash, b []byte, off int64) (n int, size int64, err error) {
	if off < 0 {
		return 0, 0, fmt.Errorf("read a block from byte %d", off)
	}
	p, err := r.find(mh)
	if err != nil {
		return 0, 0, err
	}
	size = int64(p.size)
	n = int(min(int64(len(b)), max(0, size-off)))
	if off == 0 && int64(n) == size {
		_, err := r.read(p, mh, b[:n])
		return n, size, err
	}
	if r.checked.has(p) {
		h, same, err := r.open(p)
		if err != nil {
			return 0, 0, err
		}
		defer h.release()
		if same {
			if _, err := h.ReadAt(b[:n], p.at+off); err != nil {
				return 0, 0, r.changed(p, err)
			}
			return n, size, nil
		}
	}
	buf := getBuffer(int(size))
	defer putBuffer(buf)
	same, err := r.read(p, mh, (*buf)[:size])
	if err != nil {
		return 0, 0, err
	}
	if same {
		r.checked.add(p)
	}
	return copy(b[:n], (*buf)[min(off, size):size]), size, nil
}

// open opens p's file, and reports whether it looks as it did. The caller releases it.
func (r *Reference) open(p place) (h *handle, same bool, err error) {
	h, err = r.handles.get(p.seg)
	if err != nil {
		return nil, false, r.changed(p, err)
	}
	f := r.files[p.seg]
	info, err := h.File.(interface{ Stat() (fs.FileInfo, error) }).Stat()
	if err != nil || !info.Mode().IsRegular() {
		h.release()
		r.handles.drop(p.seg)
		return nil, false, r.changed(p, err)
	}
	same = info.Size() == f.Size && info.ModTime().UnixNano() == f.ModTime
	return h, same, nil
}

// read fills b with the block and checks it: by its checksum while the file looks as it did, else by its
// hash.
func (r *Reference) read(p place, mh multihash.Multihash, b []byte) (same bool, err error) {
	h, same, err := r.open(p)
	if err != nil {
		return false, err
	}
	defer h.release()
	if _, err := h.ReadAt(b, p.at); err != nil && len(b) > 0 {
		return false, r.changed(p, err)
	}
	if same && sumOf(mh, b) == p.sum || !same && hashes(mh, b) {
		return same, nil
	}
	r.handles.drop(p.seg) // perhaps another file has taken its place: the next reader looks
	return false, r.changed(p, nil)
}

func (r *Reference) changed(p place, err error) error {
	why := "it has changed since it was attached, and a block that was in it is there no more"
	if err != nil && !errors.Is(err, io.EOF) {
		why += ": " + err.Error()
	}
	return &DamageError{r.files[p.seg].Path, why}
}

// Changed returns the files that are gone or do not look as they did.
func (r *Reference) Changed() (paths []string) {
	for _, f := range r.files {
		if now, err := Stat(f.Path); err != nil || now != f {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// Bytes returns the sum of the blocks' sizes. It reads the whole index.
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
