package store

import (
	"os"
	"testing"
)

// TestAttachedState: the state of an attachment follows its files and its index.
func TestAttachedState(t *testing.T) {
	const size = 2 << 20
	path, _, _ := carFile(t, 4, size, 1)
	s := newStore(t)
	a, err := s.Attach(t.Context(), AttachCAR, path, true)
	must(t, err)
	if a.State != AttachedOK {
		t.Errorf("attach: got %q, want %q", a.State, AttachedOK)
	}
	check := func(want string) {
		t.Helper()
		if all := s.Attached(); len(all) != 1 || all[0].State != want || all[0].Path != path {
			t.Errorf("got %+v, want state %q", all, want)
		}
	}
	check(AttachedOK)
	flipBit(t, path, size)
	check(AttachedChanged)
	flipBit(t, path, size)
	_, err = s.Attach(t.Context(), AttachCAR, path, true)
	must(t, err)
	check(AttachedOK)
	must(t, os.Rename(path, path+".away"))
	check(AttachedMissing)
	must(t, os.Rename(path+".away", path))
	_, err = s.Attach(t.Context(), AttachCAR, path, true)
	must(t, err)
	check(AttachedOK)
	must(t, s.Close())
	must(t, os.RemoveAll(s.attachedPath(AttachCAR, path)))
	s = open(t, s.Dir(), Config{})
	check(AttachedDamaged)
	_, err = s.Attach(t.Context(), AttachCAR, path, true)
	must(t, err)
	check(AttachedOK)
}
