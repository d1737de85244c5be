package store

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestUnsynced(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "unsynced")
	var u unsynced
	must(t, u.open(marker))
	calls := 0
	count := func() error { calls++; return nil }
	flush := func(what string, sync func() error, want int) {
		t.Helper()
		calls = 0
		must(t, u.flush(sync))
		if calls != want {
			t.Errorf("%s: %d syncs, want %d", what, calls, want)
		}
	}
	write := func() { must(t, u.begin()); u.end() }

	flush("nothing was written", count, 0)
	write()
	write()
	flush("written", count, 1)
	flush("nothing written since", count, 0)
	if exists(marker) {
		t.Error("the marker is still there")
	}

	write()
	if err := u.flush(func() error { return errors.New("disk error") }); err == nil {
		t.Error("got no error")
	}
	flush("after a failed sync", count, 1)

	write()
	flush("written during a flush", func() error { write(); return count() }, 1)
	flush("writes made during the last flush", count, 1)

	must(t, u.begin())
	flush("a write in progress", count, 1)
	u.end()
	flush("a completed write", count, 1)

	must(t, u.begin())
	u = unsynced{} // killed
	must(t, u.open(marker))
	flush("writes of a killed process", count, 1)
	flush("once", count, 0)
	if exists(marker) {
		t.Error("the marker is still there")
	}
}
