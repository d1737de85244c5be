package smallfile

import (
	"bytes"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs/simdisk"
)

// watched is a file system on which a file is looked at in the middle of its use.
type watched struct {
	diskfs.FS
	meanwhile func()
}

type watchedFile struct {
	diskfs.File
	meanwhile func()
}

func (w watched) Open(path string, write bool) (diskfs.File, error) {
	f, err := w.FS.Open(path, write)
	return watchedFile{f, w.meanwhile}, err
}

func (f watchedFile) Size() (int64, error) {
	n, err := f.File.Size()
	f.meanwhile()
	return n, err
}

// TestReserveIsUsedByOne has a file written over the reserve while another goroutine looks for room and fills the
// reserve: the file holds what was written, and none of the reserve's zeros behind it.
func TestReserveIsUsedByOne(t *testing.T) {
	d := simdisk.New(1)
	r := diskfs.Reserve{FS: d, Path: filepath.Join("d", "reserve"), Size: 16 << 10}
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
	d.SetRoom(0)
	path, data := filepath.Join("d", "key"), []byte("secret")
	var other sync.WaitGroup
	var replaced atomic.Bool
	r.Size += 4 << 10
	r.FS = watched{d, func() {
		other.Go(func() {
			err := replace(func(string) diskfs.Reserve { return diskfs.Reserve{FS: d, Path: r.Path, Size: 16 << 10} }, path, data)
			if err != nil {
				t.Error(err)
			}
			replaced.Store(true)
		})
		for range 100_000 { // it has to wait, which cannot be seen: it has every chance not to
			if replaced.Load() {
				break
			}
			runtime.Gosched()
		}
	}}
	if err := FillReserve(r); !diskfs.Full(err) {
		t.Errorf("fill a full disk: %v", err)
	}
	other.Wait()
	f, err := d.Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, n)
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file has %d bytes, %v, want %q", n, err, data)
	}
}
