package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// freezeByMode removes write permission from every folder and file, which affects every user except root.
func freezeByMode(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("SKIPPED: permissions do not restrict root: read-only repos are not tested")
	}
	chmod := func(folder, file fs.FileMode) {
		must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.Chmod(path, folder)
			}
			return os.Chmod(path, file)
		}))
	}
	chmod(0o500, 0o400)
	t.Cleanup(func() { chmod(0o700, 0o600) })
}

func TestReadOnlyRepo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	s := open(t, dir, Config{})
	leaf := raw(1, 100)
	root := node(leaf.CID())
	must(t, s.Put(t.Context(), leaf, root))
	pin(t, s, "p", true, root)
	must(t, s.AddPin(t.Context(), Pin{Name: "old", Roots: []Root{{root.CID(), true}}, Expires: time.Unix(1, 0)}))
	must(t, s.Close())
	freeze(t, dir)

	s = open(t, dir, Config{})
	if !s.ReadOnly() {
		t.Fatal("ReadOnly is false")
	}
	wantHere(t, s, leaf, root)
	clean(t, s)
	if pins, err := s.Pins(); err != nil || len(pins) != 1 || pins[0].Name != "p" {
		t.Errorf("%+v, %v", pins, err)
	}
	if u, err := s.Stat(t.Context()); err != nil || u.Blocks != 2 {
		t.Errorf("%+v, %v", u, err)
	}
	n := s.Begin()
	wantHere(t, n, leaf)
	must(t, n.Protect(t.Context(), root.CID()))
	_, _, scratchErr := s.NewScratch()
	_, collectErr := s.Collect(t.Context(), time.Now())
	for i, err := range []error{
		s.Put(t.Context(), raw(2, 1)), n.Put(t.Context(), leaf), s.Sync(t.Context()), s.RemovePin("p"),
		s.AddPin(t.Context(), Pin{Name: "q", Roots: []Root{{leaf.CID(), true}}}), scratchErr, collectErr,
	} {
		var ro *ReadOnlyError
		if !errors.As(err, &ro) || err.Error() != "repo "+dir+" is read-only" {
			t.Errorf("write %d: %v", i, err)
		}
	}
	n.End()

	beside := open(t, dir, Config{}) // readers share the lock
	wantHere(t, beside, leaf)
}

func TestReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	freeze(t, dir)
	_, err := Open(dir, Config{})
	wantErr(t, err, dir, "read-only")
	_, err = Open(filepath.Join(dir, "repo"), Config{})
	wantErr(t, err, dir)
}
