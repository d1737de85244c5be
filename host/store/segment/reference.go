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

// Foreign is a file that is not ours, as it was when it was looked at.
type Foreign struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"modified"` // nanoseconds since 1970
	Changed int64  `json:"changed"`  // the same, of the file or of what is known of it
	Inode   uint64 `json:"inode"`
	Device  uint64 `json:"device"`
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
	return look(path, info), nil
}

// look is a file as info tells it.
func look(path string, info os.FileInfo) Foreign {
	f := Foreign{Path: path, Size: info.Size(), ModTime: info.ModTime().UnixNano()}
	f.Changed, f.Inode, f.Device = identity(info)
	return f
}

// Look returns size, times, inode and device of a file as text, to be compared with an earlier one.
func Look(info os.FileInfo) string {
	f := look("", info)
	return fmt.Sprintf("%d %d %d %d %d", f.Size, f.ModTime, f.Changed, f.Inode, f.Device)
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
