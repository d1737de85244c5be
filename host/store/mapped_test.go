package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store/segment"
	"github.com/ipfs-liftoff/liftoff/internal/crc32c"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// mapFile maps a file so that it can be changed without a write, and touches all its pages, so that a change does not
// update the file's times.
func mapFile(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	m, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(t, err)
	t.Cleanup(func() { must(t, syscall.Munmap(m)) })
	for i := 0; i < len(m); i += 4096 {
		m[i] ^= 1
		m[i] ^= 1
	}
	return m
}

// keepCRC changes at most 33 bits of b, starting at byte at, without changing the CRC-32C of any part of b that
// contains them all.
func keepCRC(t *testing.T, b []byte, at int) {
	t.Helper()
	before := crc32c.Checksum(b)
	b[at] ^= 1
	for i := range 32 {
		if 0x1EDC6F41>>(31-i)&1 == 1 {
			b[at+(i+1)/8] ^= 1 << ((i + 1) % 8)
		}
	}
	if crc32c.Checksum(b) != before {
		t.Fatal("the checksum changed")
	}
}

// mapped attaches a folder with one file of one leaf, which the test has mapped.
func mapped(t *testing.T) (s *Store, path string, bytes []byte, leaf cid.Cid) {
	t.Helper()
	const size = 1 << 20
	dir := filepath.Join(t.TempDir(), "data")
	must(t, os.Mkdir(dir, 0o700))
	path = filepath.Join(dir, "file")
	must(t, os.WriteFile(path, noise(7, size), 0o600))
	bytes = mapFile(t, path)
	s = newStore(t)
	_, err := s.Attach(t.Context(), AttachDir, dir, true)
	must(t, err)
	return s, path, bytes, dag.NewBlock(cid.Raw, noise(7, size)).CID()
}

// wantChanged checks that the error names the file.
func wantChanged(t *testing.T, err error, path string) {
	t.Helper()
	var bad *dag.DamagedError
	if !errors.As(err, &bad) || bad.Where != path {
		t.Errorf("error %v, want a DamagedError in %s", err, path)
	}
}

// TestMappedPart: after the first read of a block, a page that changes is refused, whatever its CRC is; the other
// pages can be read.
func TestMappedPart(t *testing.T) {
	for name, change := range map[string]func(*testing.T, []byte){
		"any change":                 func(_ *testing.T, b []byte) { b[0]++ },
		"a change with the same CRC": func(t *testing.T, b []byte) { keepCRC(t, b, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			s, path, m, leaf := mapped(t)
			n := s.Begin()
			defer n.End()
			const page = 5 * segment.PageSize
			p := make([]byte, 4096)
			for _, bs := range []dag.PartReader{s, n.Track()} {
				_, _, err := bs.ReadPart(t.Context(), leaf, p, page+100)
				must(t, err)
			}
			change(t, m[page+4096:][:64])
			for _, bs := range []dag.PartReader{s, n.Track()} {
				_, _, err := bs.ReadPart(t.Context(), leaf, p, page+4096)
				wantChanged(t, err, path)
				_, _, err = bs.ReadPart(t.Context(), leaf, p, page-4096)
				must(t, err)
				if !bytes.Equal(p, noise(7, 1<<20)[page-4096:page]) {
					t.Error("bytes differ from those attached")
				}
			}
		})
	}
}

// TestMappedWhole: the first read by a run hashes the block: it refuses a change that preserved the times and the
// CRC.
func TestMappedWhole(t *testing.T) {
	s, path, m, leaf := mapped(t)
	keepCRC(t, m, 5000)
	n := s.Begin()
	defer n.End()
	_, err := n.Track().Get(t.Context(), leaf)
	wantChanged(t, err, path)
	_, _, err = n.Track().ReadPart(t.Context(), leaf, make([]byte, 1<<20), 0)
	wantChanged(t, err, path)
	_, _, err = n.Track().ReadPart(t.Context(), leaf, make([]byte, 10), 1<<20-10)
	wantChanged(t, err, path)
}

// TestRecheck: a change of a page that was read is found before the reader signs, and pages that were not read are
// not checked.
func TestRecheck(t *testing.T) {
	s, path, m, leaf := mapped(t)
	n := s.Begin()
	defer n.End()
	whole, part := n.Track(), n.Track()
	_, err := whole.Get(t.Context(), leaf)
	must(t, err)
	for _, at := range []int64{3 * segment.PageSize, 7*segment.PageSize - 10} { // pages 3, 6 and 7
		_, _, err = part.ReadPart(t.Context(), leaf, make([]byte, 20), at)
		must(t, err)
	}
	keepCRC(t, m, 4*segment.PageSize)
	must(t, part.Recheck(t.Context()))
	wantChanged(t, whole.Recheck(t.Context()), path)

	for _, page := range []int{3, 6, 7} {
		tr := n.Track()
		_, _, err = tr.ReadPart(t.Context(), leaf, make([]byte, 20), 3*segment.PageSize)
		must(t, err)
		_, _, err = tr.ReadPart(t.Context(), leaf, make([]byte, 20), 7*segment.PageSize-10)
		must(t, err)
		m[page*segment.PageSize+9]++
		wantChanged(t, tr.Recheck(t.Context()), path)
		m[page*segment.PageSize+9]--
	}

	tr := n.Track() // detached blocks were intact when they were read
	_, _, err = tr.ReadPart(t.Context(), leaf, make([]byte, 20), 0)
	must(t, err)
	m[0]++
	_, err = s.Detach(t.Context(), filepath.Dir(path))
	must(t, err)
	must(t, tr.Recheck(t.Context()))
}

// TestRecheckInBetween: when a run reads more blocks than the list holds, the next read rechecks the listed ones.
func TestRecheckInBetween(t *testing.T) {
	const size = 4 << 20
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	must(t, os.WriteFile(path, noise(7, size), 0o600))
	m := mapFile(t, path)
	s := newStore(t)
	_, err := s.Attach(t.Context(), AttachDir, dir, true)
	must(t, err)
	n := s.Begin()
	defer n.End()
	tr := n.Track()
	tr.max = 2
	leaf := func(i int) cid.Cid { return dag.NewBlock(cid.Raw, noise(7, size)[i<<20:][:1<<20]).CID() }
	for i := range 2 {
		_, err := tr.Get(t.Context(), leaf(i))
		must(t, err)
	}
	m[1<<20]++
	_, err = tr.Get(t.Context(), leaf(2))
	wantChanged(t, err, path)
}

// TestAttachedReplaced: a replaced file is detected even if size, time and checksums are equal.
func TestAttachedReplaced(t *testing.T) {
	s, path, _, leaf := mapped(t)
	info, err := os.Stat(path)
	must(t, err)
	must(t, s.Close())
	s = open(t, s.Dir(), Config{})
	other := noise(7, 1<<20)
	keepCRC(t, other, 1000)
	must(t, os.WriteFile(path+".new", other, 0o600))
	must(t, os.Chtimes(path+".new", info.ModTime(), info.ModTime()))
	must(t, os.Rename(path+".new", path))
	_, err = s.Get(t.Context(), leaf)
	wantChanged(t, err, path)
	must(t, s.Close())
	s = open(t, s.Dir(), Config{})
	if a, err := s.Attach(t.Context(), AttachDir, filepath.Dir(path), true); err != nil || len(a.Roots) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := s.Get(t.Context(), dag.NewBlock(cid.Raw, other).CID()); err != nil {
		t.Errorf("the folder was not read again: %v", err)
	}
}

// TestRotAfterFirstRead: if a bit in a segment flips after a block was read, a later partial read does not return it.
func TestRotAfterFirstRead(t *testing.T) {
	s := newStore(t)
	for i, size := range []int{1 << 20, segment.PageSize + 1, segment.PageSize, 5000} {
		b := raw(uint64(i), size)
		must(t, s.Put(t.Context(), b))
		p := make([]byte, 100)
		read := func(off int) error {
			_, _, err := s.ReadPart(t.Context(), b.CID(), p, int64(off))
			return err
		}
		for range 2 {
			for off := 0; off < size; off += segment.PageSize {
				must(t, read(off))
				if got := p[:min(len(p), size-off)]; !bytes.Equal(got, b.Data()[off:][:len(got)]) {
					t.Errorf("size %d: wrong bytes at %d", size, off)
				}
			}
		}
		path, at, err := s.combined.large.(segmentStorage).s.Place(b.CID().Hash())
		must(t, err)
		last := (size - 1) / segment.PageSize * segment.PageSize
		flipBit(t, path, at+int64(size)-1)
		var bad *dag.DamagedError
		if err := read(last); !errors.As(err, &bad) || bad.Where != path {
			t.Errorf("size %d: error %v, want a DamagedError in %s", size, err, path)
		}
		if last > 0 {
			must(t, read(last-200))
		}
	}
}
