package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
	"github.com/ipfs-liftoff/liftoff/host/store/segment"
)

func TestFiles(t *testing.T) {
	testStorage(t, func(t *testing.T, dir string) storage {
		f, err := openFiles(dir, false)
		must(t, err)
		return f
	})
}

func TestRecords(t *testing.T) {
	testStorage(t, func(t *testing.T, dir string) storage { return openRecords(t, dir) })
}

func openRecords(t *testing.T, dir string) ledgerStorage {
	l, err := ledger.Open(dir, ledger.Config{MaxLog: 20_000})
	must(t, err)
	return ledgerStorage{l}
}

func openSegments(t *testing.T, dir string) segmentStorage {
	s, err := segment.Open(dir, segment.Config{MaxSegment: 1 << 20})
	must(t, err)
	return segmentStorage{s}
}

func TestSegments(t *testing.T) {
	testStorage(t, func(t *testing.T, dir string) storage { return openSegments(t, dir) })
}

func TestLayers(t *testing.T) {
	testStorage(t, func(t *testing.T, dir string) storage {
		parts := map[string]string{}
		for _, name := range []string{"small", "large", "old"} {
			parts[name] = filepath.Join(dir, name)
			must(t, os.MkdirAll(parts[name], 0o700))
		}
		f, err := openFiles(parts["old"], false)
		must(t, err)
		return combinedStorage{openRecords(t, parts["small"]), openSegments(t, parts["large"]), f}
	})
}

// testStorage is the suite that every storage must pass. open opens the storage in dir, an existing folder, with the
// state that a previous one left.
func testStorage(t *testing.T, open func(t *testing.T, dir string) storage) {
	key := func(b []byte) multihash.Multihash {
		k, err := multihash.Sum(b, multihash.SHA2_256, -1)
		must(t, err)
		return k
	}
	has := func(t *testing.T, st storage, data []byte) {
		t.Helper()
		got, err := st.Get(key(data))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("get: %d bytes of %d, %v", len(got), len(data), err)
		}
		if n, err := st.Size(key(data)); n != int64(len(data)) || err != nil {
			t.Errorf("size: %d, %v", n, err)
		}
	}
	lacks := func(t *testing.T, st storage, data []byte) {
		t.Helper()
		if _, err := st.Get(key(data)); !errors.Is(err, errAbsent) {
			t.Errorf("get: %v", err)
		}
		if _, err := st.Size(key(data)); !errors.Is(err, errAbsent) {
			t.Errorf("size: %v", err)
		}
	}
	all := func(t *testing.T, st storage) (keys []string) {
		t.Helper()
		must(t, st.Each(t.Context(), func(e entry) error {
			data, err := st.Get(e.Key)
			if err != nil || int64(len(data)) != e.Size || e.Where == "" {
				t.Errorf("%+v: %d bytes, %v", e, len(data), err)
			}
			keys = append(keys, string(e.Key))
			return nil
		}))
		slices.Sort(keys)
		return keys
	}
	sizes := []int{0, 1, 3, 4, 5, 300, 4096, 256 << 10, 2 << 20}

	t.Run("put, get, delete", func(t *testing.T) {
		dir := t.TempDir()
		st := open(t, dir)
		var want []string
		for i, n := range sizes {
			data := noise(uint64(i), n)
			lacks(t, st, data)
			must(t, st.Put(key(data), data))
			has(t, st, data)
			must(t, st.Put(key(data), data))
			has(t, st, data)
			want = append(want, string(key(data)))
		}
		must(t, st.Sync())
		slices.Sort(want)
		if got := all(t, st); !slices.Equal(got, want) {
			t.Errorf("%d entries, want %d", len(got), len(want))
		}
		must(t, st.Close())

		st = open(t, dir)
		if got := all(t, st); !slices.Equal(got, want) {
			t.Errorf("reopened: %d entries, want %d", len(got), len(want))
		}
		for i, n := range sizes {
			data := noise(uint64(i), n)
			has(t, st, data)
			must(t, st.Delete(key(data)))
			lacks(t, st, data)
			must(t, st.Delete(key(data)))
		}
		if got := all(t, st); len(got) != 0 {
			t.Errorf("%d entries remain", len(got))
		}
		data := noise(0, 100)
		must(t, st.Put(key(data), data))
		has(t, st, data)
		must(t, st.Sync())
		must(t, st.Close())
	})

	t.Run("returned bytes are a copy", func(t *testing.T) {
		st := open(t, t.TempDir())
		defer st.Close()
		data := noise(1, 1000)
		given := bytes.Clone(data)
		must(t, st.Put(key(data), given))
		clear(given)
		got, err := st.Get(key(data))
		must(t, err)
		clear(got)
		_ = append(got, 1, 2, 3, 4)
		has(t, st, data)
	})

	t.Run("each stops", func(t *testing.T) {
		st := open(t, t.TempDir())
		defer st.Close()
		for i := range uint64(10) {
			data := noise(i, 10)
			must(t, st.Put(key(data), data))
		}
		stop := errors.New("stop")
		n := 0
		if err := st.Each(t.Context(), func(entry) error { n++; return stop }); err != stop || n != 1 {
			t.Errorf("%d calls, %v", n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		n = 0
		if err := st.Each(ctx, func(entry) error { n++; cancel(); return nil }); !errors.Is(err, context.Canceled) || n != 1 {
			t.Errorf("%d calls, %v", n, err)
		}
		must(t, st.Each(t.Context(), func(e entry) error { return st.Delete(e.Key) }))
		if left := all(t, st); len(left) != 0 {
			t.Errorf("%d entries remain", len(left))
		}
	})

	t.Run("many at once", func(t *testing.T) {
		st := open(t, t.TempDir())
		defer st.Close()
		var group sync.WaitGroup
		for w := range 4 {
			group.Go(func() {
				for i := range 100 {
					data := noise(uint64((i+w)%20), 2000)
					if err := work(st, key(data), data, (i+w)%3); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		all(t, st)
	})
}

// work does one of three things; a Get must return the whole data or errAbsent.
func work(st storage, key multihash.Multihash, data []byte, what int) error {
	switch what {
	case 0:
		return st.Put(key, data)
	case 1:
		return st.Delete(key)
	}
	got, err := st.Get(key)
	if errors.Is(err, errAbsent) {
		return nil
	}
	if err == nil && !bytes.Equal(got, data) {
		return fmt.Errorf("%d wrong bytes", len(got))
	}
	return err
}
