package segment

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestReserve: space preallocated during large writes is freed by Close, and after a kill by the next Open.
func TestReserve(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "00000001.car")
	behind := func() int64 { // allocated bytes behind the end, as reported by the file system
		info, err := os.Stat(path)
		must(t, err)
		return info.Sys().(*syscall.Stat_t).Blocks*512 - info.Size()
	}
	s := open(t, dir, Config{})
	for i := range uint64(12) {
		mh, data := block(i, 1<<20)
		must(t, s.Put(mh, data))
	}
	must(t, s.Sync())
	if behind() < writebackStep {
		t.Skipf("this file system does not preallocate")
	}
	s.work.Wait()
	s.handles.close() // a kill: nothing is written or freed
	again := open(t, dir, Config{})
	const slack = 1 << 20
	if n := behind(); n > slack {
		t.Errorf("store opened after a kill: %d bytes are preallocated", n)
	}
	for i := range uint64(24) {
		mh, data := block(i, 1<<20)
		must(t, again.Put(mh, data))
	}
	must(t, again.Sync())
	if behind() < writebackStep {
		t.Error("nothing was preallocated during large writes")
	}
	must(t, again.Close())
	if n := behind(); n > slack {
		t.Errorf("closed store: %d bytes are preallocated", n)
	}
}
