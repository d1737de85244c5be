package segment

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// AttachedFile describes an attached file as it was at one time.
type AttachedFile struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"modified"` // nanoseconds since 1970
	Changed int64  `json:"changed"`  // nanoseconds since 1970: the inode's change time
	Inode   uint64 `json:"inode"`
	Device  uint64 `json:"device"`
}

// Stat describes the file at path, which must be regular.
func Stat(path string) (AttachedFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return AttachedFile{}, err
	}
	if !info.Mode().IsRegular() {
		return AttachedFile{}, &os.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	return describe(path, info), nil
}

// describe describes a file by its info.
func describe(path string, info os.FileInfo) AttachedFile {
	f := AttachedFile{Path: path, Size: info.Size(), ModTime: info.ModTime().UnixNano()}
	f.Changed, f.Inode, f.Device = identity(info)
	return f
}

// Fingerprint returns size, times, inode and device of a file as text, to be compared with an earlier result.
func Fingerprint(info os.FileInfo) string {
	f := describe("", info)
	return fmt.Sprintf("%d %d %d %d %d", f.Size, f.ModTime, f.Changed, f.Inode, f.Device)
}

// Recorder collects the places of blocks in attached files. Its methods may be called concurrently.
type Recorder struct {
	mu      sync.Mutex
	files   []AttachedFile
	records []record
}

// File adds a file and returns its number.
func (r *Recorder) File(f AttachedFile) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = append(r.files, f)
	return uint32(len(r.files) - 1)
}

// Add adds a block that begins at byte at of a file.
func (r *Recorder) Add(mh multihash.Multihash, data []byte, file uint32, at int64) error {
	if len(mh) > MaxKey {
		return fmt.Errorf("multihash of block: got %d bytes, want at most %d", len(mh), MaxKey)
	}
	rec := record{keyOf(mh), place{seg: file, at: at, size: uint32(len(data)), sum: sumOf(mh, data)}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec)
	return nil
}

// Files of a Reference in its folder.
const (
	referenceIndex = "blocks.index"
	referenceFiles = "files.json"
)

// Write writes a Reference to dir, an empty folder. It writes the list of files last: a Reference is complete only
// with it.
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
