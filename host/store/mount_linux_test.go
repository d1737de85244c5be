package store

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// mountSmall mounts an in-memory file system of the given size, or skips the test.
func mountSmall(t *testing.T, bytes string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=700,size="+bytes); err != nil {
		t.Skipf("SKIPPED: cannot mount a small file system (%v): a full disk is not tested", err)
	}
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

// freeze makes dir and its content read-only until the test ends: by a mount, or, if that is not permitted, by
// permissions. It skips the test if neither works.
func freeze(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		freezeByMode(t, dir)
		return
	}
	t.Cleanup(func() { unmount(t, dir) })
	must(t, unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
}

func unmount(t *testing.T, dir string) {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Error(err)
	}
}

// TestDiskFull fills a small file system with blocks. The block that does not fit is an error that says so and leaves
// nothing; after space is freed, everything works.
func TestDiskFull(t *testing.T) {
	dir := mountSmall(t, "2m")
	s := open(t, filepath.Join(dir, "repo"), Config{})
	var kept []int
	for i := range 100 {
		b := raw(uint64(i), 100_000)
		err := s.Put(t.Context(), b)
		if err == nil {
			kept = append(kept, i)
			continue
		}
		wantErr(t, err, b.CID().String(), "no space left on device")
		wantGone(t, s, b)
		break
	}
	if len(kept) == 0 || len(kept) == 100 {
		t.Fatalf("%d blocks of 100 were stored", len(kept))
	}
	pin(t, s, "small ones still fit", true, raw(0, 100_000))
	for i := 0; ; i++ { // fill the rest with pins
		err := s.AddPin(t.Context(), Pin{Name: "big", Roots: bigRoots(raw(1, 1).CID())[:i*100+1]})
		if err != nil {
			wantErr(t, err, `pin "big"`, "no space left on device")
			break
		}
	}
	if pins, err := s.Pins(); err != nil || len(pins) != 2 { // "big" is the previous one
		t.Errorf("%d pins, %v", len(pins), err)
	}
	for _, i := range kept {
		wantHere(t, s, raw(uint64(i), 100_000))
	}
	if v := clean(t, s); v.Blocks != len(kept) {
		t.Errorf("%+v, put %d", v, len(kept))
	}
	must(t, s.RemovePin("big"))
	if done := collect(t, s); done.Kept != 1 {
		t.Errorf("%+v", done)
	}
	b := raw(500, 100_000)
	must(t, s.Put(t.Context(), b))
	wantHere(t, s, b)
}

// TestDiskFullAtTheFirst: a failed creation of a repo leaves a folder in which it can be completed.
func TestDiskFullAtTheFirst(t *testing.T) {
	dir := mountSmall(t, "64k")
	fill := filepath.Join(dir, "fill")
	must(t, os.WriteFile(fill, make([]byte, 16<<10), 0o600))
	f, err := os.OpenFile(fill, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	repo := filepath.Join(dir, "repo")
	if _, err := Open(repo, Config{}); err == nil {
		t.Fatal("a repo was created on a full disk")
	} else {
		wantErr(t, err, repo, "no space left on device")
	}
	must(t, os.Remove(fill))
	open(t, repo, Config{})
}
