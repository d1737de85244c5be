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

// hooked is a file system that runs a function while a file is in use.
type hooked struct {
	diskfs.FS
	during func()
}

type hookedFile struct {
	diskfs.File
	during func()
}

func (w hooked) Open(path string, write bool) (diskfs.File, error) {
	f, err := w.FS.Open(path, write)
	return hookedFile{f, w.during}, err
}

func (f hookedFile) Size() (int64, error) {
	n, err := f.File.Size()
	f.during()
	return n, err
}

// TestReserveIsUsedByOne writes a file with the reserve while another goroutine fills the reserve: the file holds the
// written data, without the reserve's zeros after it.
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
	r.FS = hooked{d, func() {
		other.Go(func() {
			err := replace(func(string) diskfs.Reserve { return diskfs.Reserve{FS: d, Path: r.Path, Size: 16 << 10} }, path, data)
			if err != nil {
				t.Error(err)
			}
			replaced.Store(true)
		})
		for range 100_000 { // replace must wait here, which cannot be observed: give it every chance not to
			if replaced.Load() {
				break
			}
			runtime.Gosched()
		}
	}}
	if err := FillReserve(r); !diskfs.Full(err) {
		t.Errorf("fill reserve on a full disk: %v", err)
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
		t.Errorf("file: got %d bytes, %v, want %q", n, err, data)
	}
}
