package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

// carFile writes a CAR of a file of n bytes.
func carFile(t *testing.T, seed uint64, n, version int) (path string, root cid.Cid, all *dag.MemBlocks) {
	t.Helper()
	all = &dag.MemBlocks{}
	e, err := dag.AddFile(t.Context(), all, bytes.NewReader(noise(seed, n)), dag.UnixFSv1)
	must(t, err)
	var b bytes.Buffer
	must(t, dag.WriteCAR(t.Context(), &b, all, []cid.Cid{e.CID}, dag.CAROptions{Version: version}))
	path = filepath.Join(t.TempDir(), "x.car")
	must(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path, e.CID, all
}

func content(t *testing.T, s *Store, root cid.Cid) ([]byte, error) {
	t.Helper()
	f, err := dag.OpenFile(t.Context(), s, root)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	_, err = f.WriteTo(t.Context(), &b)
	return b.Bytes(), err
}

func TestAttachCAR(t *testing.T) {
	for _, version := range []int{1, 2} {
		const size = 3<<20 + 5
		path, root, _ := carFile(t, 4, size, version)
		s := newStore(t)
		for range 2 { // the second time from the index
			a, err := s.Attach(t.Context(), AttachCAR, path, true)
			must(t, err)
			if len(a.Roots) != 1 || !a.Roots[0].Equals(root) || a.Blocks != 5 || a.Bytes < size || !a.Kept {
				t.Errorf("%+v", a)
			}
		}
		for range 2 {
			if got, err := content(t, s, root); err != nil || !bytes.Equal(got, noise(4, size)) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			f, err := dag.OpenFile(t.Context(), s, root)
			must(t, err)
			p := make([]byte, 100)
			for range 2 {
				_, err = f.ReadAt(t.Context(), p, 2<<20+7)
				must(t, err)
				if !bytes.Equal(p, noise(4, size)[2<<20+7:][:100]) {
					t.Error("other bytes")
				}
			}
			if u, err := s.Stat(t.Context()); err != nil || u.Blocks != 0 {
				t.Errorf("data was copied: %+v, %v", u, err)
			}
			must(t, s.Close())
			s = open(t, s.Dir(), Config{}) // the attachment is persistent
		}
		if c, err := s.Coverage(t.Context(), root); !c.Exact || err != nil {
			t.Errorf("coverage: %+v, %v", c, err)
		}
		collect(t, s)
		if found, err := s.Detach(t.Context(), path); !found || err != nil {
			t.Fatal(found, err)
		}
		if _, err := content(t, s, root); err == nil {
			t.Error("the block is still present")
		}
		if left := tree(t, filepath.Join(s.Dir(), attachedDir)); len(left) != 1 {
			t.Errorf("%q", left)
		}
		if found, err := s.Detach(t.Context(), path); found || err != nil {
			t.Error(found, err)
		}
	}
}

// TestAttachedCARChanges: a file with new times and the same content can be read; changed content is refused and
// named; after attaching it again, the new content is read.
func TestAttachedCARChanges(t *testing.T) {
	path, root, _ := carFile(t, 4, 2<<20, 1)
	s := newStore(t)
	_, err := s.Attach(t.Context(), AttachCAR, path, true)
	must(t, err)
	must(t, os.Chtimes(path, time.Now(), time.Now().Add(time.Hour)))
	if got, err := content(t, s, root); err != nil || !bytes.Equal(got, noise(4, 2<<20)) {
		t.Errorf("touched: %v", err)
	}
	old, err := os.ReadFile(path)
	must(t, err)
	flipBit(t, path, int64(len(old)-100))
	_, err = content(t, s, root)
	var bad *dag.DamagedError
	if !errors.As(err, &bad) || bad.Where != path {
		t.Errorf("changed: %v", err)
	}
	info, err := os.Stat(path)
	must(t, err)
	must(t, os.Chtimes(path, info.ModTime(), info.ModTime())) // even with its old time
	if _, err := s.Attach(t.Context(), AttachCAR, path, true); err == nil {
		t.Error("a CAR with a flipped bit was attached")
	}
	must(t, os.WriteFile(path, old, 0o600))
	_, err = s.Attach(t.Context(), AttachCAR, path, true)
	must(t, err)
	if got, err := content(t, s, root); err != nil || !bytes.Equal(got, noise(4, 2<<20)) {
		t.Errorf("repaired: %v", err)
	}
	must(t, os.Remove(path))
	must(t, s.Close())
	s = open(t, s.Dir(), Config{})
	if _, err = content(t, s, root); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing: %v", err)
	}
	if len(s.Attached()) != 1 {
		t.Errorf("%+v", s.Attached())
	}
}

func TestAttachDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "photos")
	must(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o700))
	for name, n := range map[string]int{"a": 10, "b": 3 << 20, "sub/c": 1 << 20, "sub/empty": 0} {
		must(t, os.WriteFile(filepath.Join(dir, name), noise(uint64(n), n), 0o600))
	}
	must(t, os.Symlink("a", filepath.Join(dir, "link")))
	plain := &dag.MemBlocks{}
	want, err := dag.AddTree(t.Context(), plain, os.DirFS(dir), ".", dag.TreeOptions{Profile: dag.UnixFSv1})
	must(t, err)
	s := newStore(t)
	a, err := s.Attach(t.Context(), AttachDir, dir, true)
	must(t, err)
	if len(a.Roots) != 1 || !a.Roots[0].Equals(want.CID) {
		t.Fatalf("%+v, add says %s", a, want.CID)
	}
	whole := func() error {
		return dag.Walk(t.Context(), s, []cid.Cid{want.CID}, dag.WalkOptions{Data: true}, func(v dag.Visited) error {
			_, err := dag.CheckBlock(v.CID, v.Block.Data())
			return err
		})
	}
	must(t, whole())
	must(t, s.Close())
	s = open(t, s.Dir(), Config{})
	must(t, whole())
	if u, err := s.Stat(t.Context()); err != nil || u.Blocks != 0 {
		t.Errorf("data was copied: %+v, %v", u, err)
	}
	index := filepath.Join(s.attachedPath(AttachDir, dir), "blocks.index")
	before, err := os.Stat(index)
	must(t, err)
	a, err = s.Attach(t.Context(), AttachDir, dir, false)
	must(t, err)
	if after, err := os.Stat(index); err != nil || !os.SameFile(before, after) || !a.Kept || len(s.Attached()) != 1 {
		t.Errorf("an unchanged folder was read again: %+v, %v", a, err)
	}
	must(t, whole())
	must(t, os.WriteFile(filepath.Join(dir, "b"), noise(1, 3<<20), 0o600))
	var bad *dag.DamagedError
	if err := whole(); !errors.As(err, &bad) || bad.Where != filepath.Join(dir, "b") {
		t.Errorf("%v", err)
	}
	a, err = s.Attach(t.Context(), AttachDir, dir, true)
	must(t, err)
	if a.Roots[0].Equals(want.CID) {
		t.Error("the root did not change")
	}
	want.CID = a.Roots[0]
	must(t, whole())
}

// TestAttachInOrder: a block that one attachment has lost is read from the next.
func TestAttachInOrder(t *testing.T) {
	a, root, _ := carFile(t, 4, 2<<20, 1)
	b, _, _ := carFile(t, 4, 2<<20, 2)
	s := newStore(t)
	for _, path := range []string{a, b} {
		_, err := s.Attach(t.Context(), AttachCAR, path, false)
		must(t, err)
	}
	must(t, os.Truncate(a, 100))
	if got, err := content(t, s, root); err != nil || !bytes.Equal(got, noise(4, 2<<20)) {
		t.Errorf("%v", err)
	}
	must(t, s.Close())
	s = open(t, s.Dir(), Config{})
	if n := len(s.Attached()); n != 0 {
		t.Errorf("%d persistent attachments", n)
	}
}

// TestAttachedError: the error and the repair hint for each way in which an attached block is lost.
func TestAttachedError(t *testing.T) {
	const size = 2 << 20
	for _, test := range []struct {
		name string
		kept bool
		do   func(t *testing.T, s *Store, path string)
		why  string
		hint string // with %s for the path
	}{
		{"changed", true, func(t *testing.T, _ *Store, path string) { flipBit(t, path, size) }, "changed since it was attached", "attach the current content: liftoff attach add %[1]s; or detach it: liftoff attach rm %[1]s"},
		{"cut off", true, func(t *testing.T, _ *Store, path string) { must(t, os.Truncate(path, 200)) }, "changed since it was attached", "attach the current content: liftoff attach add %[1]s; or detach it: liftoff attach rm %[1]s"},
		{"gone", true, func(t *testing.T, _ *Store, path string) { must(t, os.Remove(path)) }, "file is missing", "restore the attached file or folder, or detach it: liftoff attach rm %[1]s"},
		{"changed, for one command", false, func(t *testing.T, _ *Store, path string) { flipBit(t, path, size) }, "changed since it was attached", "run the command again to read the current content of %[1]s"},
		{"gone, for one command", false, func(t *testing.T, _ *Store, path string) { must(t, os.Remove(path)) }, "file is missing", "restore %[1]s and run the command again"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path, root, _ := carFile(t, 4, size, 1)
			s := newStore(t)
			_, err := s.Attach(t.Context(), AttachCAR, path, test.kept)
			must(t, err)
			test.do(t, s, path)
			_, err = content(t, s, root)
			var got *AttachedError
			var bad *dag.DamagedError
			if !errors.As(err, &got) || !errors.As(err, &bad) {
				t.Fatalf("%v", err)
			}
			if got.File != path || got.Path != path || got.Why != test.why || got.Own || !got.CID.Defined() || bad.CID != got.CID || bad.Where != path {
				t.Errorf("%+v", got)
			}
			if want := fmt.Sprintf(test.hint, path); got.Hint() != want {
				t.Errorf("hint: got %q, want %q", got.Hint(), want)
			}
		})
	}
}

// TestAttachedIndexDamaged: the error for a damaged block of an index does not name the attached folder as the file.
func TestAttachedIndexDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "a"), noise(1, 10), 0o600))
	s := newStore(t)
	a, err := s.Attach(t.Context(), AttachDir, dir, true)
	must(t, err)
	index := filepath.Join(s.attachedPath(AttachDir, dir), nodesDir)
	cars, err := filepath.Glob(filepath.Join(index, "*.car"))
	must(t, err)
	for _, path := range cars {
		info, err := os.Stat(path)
		must(t, err)
		flipBit(t, path, info.Size()-2)
	}
	_, err = s.Get(t.Context(), a.Roots[0])
	var got *AttachedError
	if !errors.As(err, &got) || !got.Own || got.Path != dir || filepath.Dir(got.File) != index {
		t.Fatalf("%v", err)
	}
	word := "'" + strings.ReplaceAll(dir, "'", `'\''`) + "'"
	if want := "rebuild the index: liftoff attach rm " + word + " && liftoff attach add " + word; got.Hint() != want {
		t.Errorf("hint: got %s, want %s", got.Hint(), want)
	}
}
