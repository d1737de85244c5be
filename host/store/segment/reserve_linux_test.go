package segment

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestReserve: the room that much data takes ahead is given back by Close, and after a kill by the next store.
func TestReserve(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "00000001.car")
	behind := func() int64 { // bytes of room behind the end, as far as the file system tells
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
		t.Skipf("this file system takes no room ahead")
	}
	s.work.Wait()
	s.handles.close() // a kill: nothing is written, nothing given back
	again := open(t, dir, Config{})
	const slack = 1 << 20
	if n := behind(); n > slack {
		t.Errorf("a store that was opened after a kill has %d bytes of room behind its end", n)
	}
	for i := range uint64(24) {
		mh, data := block(i, 1<<20)
		must(t, again.Put(mh, data))
	}
	must(t, again.Sync())
	if behind() < writebackStep {
		t.Error("much more was put and no room taken")
	}
	must(t, again.Close())
	if n := behind(); n > slack {
		t.Errorf("a store that was closed has %d bytes of room behind its end", n)
	}
}
