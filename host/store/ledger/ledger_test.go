package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// memoryDir creates a folder on an in-memory file system if the machine has one. These tests do not depend on a disk,
// and syncing one would wait for the data of other processes.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "ledger")
	if err != nil {
		dir, err = os.MkdirTemp("", "ledger")
	}
	must(t, err)
	return dir
}

func open(t testing.TB, dir string, maxLog int64) *Ledger {
	t.Helper()
	l, err := Open(dir, Config{MaxLog: maxLog})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func set(key, value string) Entry { return Entry{Key: key, Value: []byte(value)} }

// wantAll compares the ledger with a map.
func wantAll(t testing.TB, l *Ledger, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	last := ""
	must(t, l.Each(context.Background(), "", func(i Item) error {
		if i.Err != nil {
			return i.Err
		}
		if i.Key <= last {
			t.Errorf("%q after %q", i.Key, last)
		}
		last = i.Key
		v, err := l.Get(i.Key)
		if err != nil {
			return err
		}
		if n, err := l.Size(i.Key); err != nil || n != int64(len(v)) || i.Size != n {
			t.Errorf("%q has size %d, %d, %v; want %d", i.Key, n, i.Size, err, len(v))
		}
		got[i.Key] = string(v)
		return nil
	}))
	if !maps.Equal(got, want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}

// TestModel applies the same operations to a ledger, with logs and tables of all sizes, and to a map.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir := memoryDir(t)
		defer os.RemoveAll(dir)
		maxLog := int64(rapid.IntRange(50, 3000).Draw(r, "log"))
		l, err := Open(dir, Config{MaxLog: maxLog})
		must(t, err)
		defer func() { l.Close() }()
		want := map[string]string{}
		key := rapid.StringMatching("[a-d]{1,3}")
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			switch rapid.IntRange(0, 9).Draw(r, "what") {
			default:
				var batch []Entry
				for range rapid.IntRange(0, 4).Draw(r, "batch") {
					k := key.Draw(r, "key")
					if rapid.Bool().Draw(r, "delete") {
						batch = append(batch, Entry{Key: k, Delete: true})
						delete(want, k)
					} else {
						v := strings.Repeat(k, rapid.IntRange(0, 40).Draw(r, "size"))
						batch = append(batch, set(k, v))
						want[k] = v
					}
				}
				must(t, l.Write(batch...))
			case 7:
				must(t, l.Compact())
			case 8:
				must(t, l.Sync())
			case 9:
				must(t, l.Close())
				l, err = Open(dir, Config{MaxLog: maxLog})
				must(t, err)
			}
		}
		wantAll(t, l, want)
		p := rapid.StringMatching("[a-d]{1,2}").Draw(r, "prefix")
		n := 0
		must(t, l.Each(context.Background(), p, func(i Item) error {
			if !strings.HasPrefix(i.Key, p) {
				t.Errorf("%q in %q", i.Key, p)
			}
			n++
			return nil
		}))
		for k := range want {
			if strings.HasPrefix(k, p) {
				n--
			}
		}
		if n != 0 {
			t.Errorf("%d too many keys with prefix %q", n, p)
		}
		for _, k := range []string{"", "e", p} {
			if _, err := l.Get(k); (err == nil) != (want[k] != "" || slices.Contains(slices.Collect(maps.Keys(want)), k)) {
				t.Errorf("get %q: %v", k, err)
			}
		}
		must(t, l.Close())
		ro, err := Open(dir, Config{ReadOnly: true})
		must(t, err)
		wantAll(t, ro, want)
		if err := ro.Write(set("k", "v")); !errors.Is(err, os.ErrPermission) {
			t.Errorf("write to a read-only ledger: %v", err)
		}
		must(t, ro.Close())
	})
}

// TestTorn cuts a log at every byte: batches before the cut are there, partial batches are not, and the ledger stays
// usable.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	ends := []int64{logHeader}
	for i := range 5 {
		must(t, l.Write(set(fmt.Sprint("a", i), "x"), set(fmt.Sprint("b", i), strings.Repeat("y", 10*i))))
		ends = append(ends, l.log.size)
	}
	must(t, l.Close())
	whole, err := os.ReadFile(filepath.Join(dir, "00000001.log"))
	must(t, err)
	for cut := range len(whole) + 1 {
		for _, tail := range []string{"", "\xff\x00\x00\x00", "LF\xf5\x01garbage garbage"} {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "00000001.log"), append(bytes.Clone(whole[:cut]), tail...), 0o600))
			if cut < logHeader && cut+len(tail) > logHeader {
				continue // a kill cannot cause this
			}
			l := open(t, dir, 0)
			want := map[string]string{}
			for i := range 5 {
				if ends[i+1] <= int64(cut) {
					want[fmt.Sprint("a", i)], want[fmt.Sprint("b", i)] = "x", strings.Repeat("y", 10*i)
				}
			}
			wantAll(t, l, want)
			must(t, l.Write(set("next", "1")))
			must(t, l.Close())
			want["next"] = "1"
			l = open(t, dir, 0)
			wantAll(t, l, want)
			if bad, err := l.Damaged(); err != nil || len(bad) > 0 {
				t.Errorf("cut at %d: %v, %v", cut, bad, err)
			}
			must(t, l.Close())
		}
	}
}

// TestForgedFrame stores a value that is a frame: if the frame around it is torn, the value is not replayed as a
// frame.
func TestForgedFrame(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	inner, err := appendFrame(nil, secret{}, logHeader+frameHeader+6, []Entry{set("forged", "1")})
	must(t, err)
	must(t, l.Write(set("v", string(inner)+strings.Repeat("z", 200))))
	must(t, l.Close())
	path := filepath.Join(dir, "00000001.log")
	must(t, os.Truncate(path, sizeOf(t, path)-10))
	l = open(t, dir, 0)
	wantAll(t, l, map[string]string{})
}

func sizeOf(t testing.TB, path string) int64 {
	info, err := os.Stat(path)
	must(t, err)
	return info.Size()
}

// TestGap damages a frame in the middle: the others are recovered, and the loss is reported from then on.
func TestGap(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	want := map[string]string{}
	for i := range 9 {
		k := fmt.Sprint(i)
		must(t, l.Write(set(k, "value "+k)))
		want[k] = "value " + k
	}
	must(t, l.Close())
	path := filepath.Join(dir, "00000001.log")
	b, err := os.ReadFile(path)
	must(t, err)
	b[bytes.Index(b, []byte("value 4"))] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	delete(want, "4")
	for range 2 {
		l = open(t, dir, 0)
		wantAll(t, l, want)
		if bad, err := l.Damaged(); err != nil || len(bad) != 1 || filepath.Base(bad[0]) != "00000001.damaged" {
			t.Errorf("%v, %v", bad, err)
		}
		must(t, l.Close())
	}
}

// TestFlips changes each byte of a table in turn: every lookup returns the written value or an error that names the
// file, never another value or ErrAbsent.
func TestFlips(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	want := map[string]string{}
	for i := range 150 { // more than one page
		k := fmt.Sprintf("key %060d", i)
		want[k] = fmt.Sprint("value ", i)
		must(t, l.Write(set(k, want[k])))
	}
	must(t, l.Compact())
	must(t, l.Close())
	path := filepath.Join(dir, "00000001-00000001.table")
	whole, err := os.ReadFile(path)
	must(t, err)
	errs := 0
	for i := 0; i < len(whole); i += 7 {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		must(t, os.WriteFile(path, b, 0o600))
		l, err := Open(dir, Config{})
		var bad *DamageError
		if errors.As(err, &bad) {
			errs++
			continue
		}
		must(t, err)
		here := errs
		for k, v := range want {
			got, err := l.Get(k)
			if errors.As(err, &bad) && bad.File == path {
				errs++
			} else if err != nil || string(got) != v {
				t.Fatalf("byte %d: %q is %q, %v", i, k, got, err)
			}
		}
		if here == errs {
			t.Errorf("damage of byte %d was not detected", i)
		}
		must(t, l.Close())
	}
	// A damaged value is named, is repaired by writing it again, and stays detectable after a merge.
	b := bytes.Clone(whole)
	b[bytes.Index(b, []byte("value 77"))] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	l = open(t, dir, 0)
	must(t, l.Compact())
	k := fmt.Sprintf("key %060d", 77)
	var bad *DamageError
	if _, err := l.Get(k); !errors.As(err, &bad) || bad.Key != k {
		t.Errorf("%v", err)
	}
	must(t, l.Write(set(k, want[k])))
	wantAll(t, l, want)
}

// TestManyAtOnce writes and reads concurrently while logs are sealed.
func TestManyAtOnce(t *testing.T) {
	dir := memoryDir(t)
	defer os.RemoveAll(dir)
	l := open(t, dir, 4000)
	var group sync.WaitGroup
	want := map[string]string{}
	for w := range 4 {
		for i := range 500 {
			want[fmt.Sprintf("%d-%d", w, i)] = strings.Repeat("v", i%97)
		}
		group.Go(func() {
			for i := range 500 {
				k, v := fmt.Sprintf("%d-%d", w, i), strings.Repeat("v", i%97)
				if err := l.Write(set(k, v), Entry{Key: "x" + k, Delete: true}); err != nil {
					t.Error(err)
				}
				j := rand.IntN(i + 1)
				if got, err := l.Get(fmt.Sprintf("%d-%d", w, j)); err != nil || len(got) != j%97 {
					t.Errorf("%d: %d bytes, %v", j, len(got), err)
				}
				if i%100 == 0 {
					if err := errors.Join(l.Sync(), l.Compact()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	wantAll(t, l, want)
	must(t, l.Close())
	l = open(t, dir, 4000)
	wantAll(t, l, want)
	if len(l.tables) > 12 {
		t.Errorf("%d tables", len(l.tables))
	}
	if err := l.Write(Entry{Key: strings.Repeat("k", MaxKey+1)}); err == nil {
		t.Error("a key that is too long was stored")
	}
	if err := l.Write(Entry{}); err == nil {
		t.Error("an empty key was stored")
	}
}

// TestCompactBesideWrites makes enough goroutines wait to write that one of them begins a new log between two steps
// of Compact: no write is lost.
func TestCompactBesideWrites(t *testing.T) {
	dir := memoryDir(t)
	defer os.RemoveAll(dir)
	l := open(t, dir, 4000)
	want := map[string]string{}
	var writing, compacting sync.WaitGroup
	done := make(chan struct{})
	compacting.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := l.Compact(); err != nil {
				t.Error(err)
			}
		}
	})
	for w := range 1000 {
		for i := range 20 {
			want[fmt.Sprintf("%d-%d", w, i)] = "v"
		}
		writing.Go(func() {
			for i := range 20 {
				if err := l.Write(set(fmt.Sprintf("%d-%d", w, i), "v")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	close(done)
	compacting.Wait()
	wantAll(t, l, want)
	must(t, l.Close())
	wantAll(t, open(t, dir, 4000), want)
}

// TestRoom: deleted values take no space after Compact.
func TestRoom(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 10_000)
	for i := range 1000 {
		must(t, l.Write(set(fmt.Sprint(i%10), strings.Repeat("v", 100))))
	}
	must(t, l.Write(Entry{Key: "3", Delete: true}))
	must(t, l.Compact())
	size := int64(0)
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range list {
		info, err := e.Info()
		must(t, err)
		size += info.Size()
	}
	if size > 2000 {
		t.Errorf("got %d bytes for 9 values of 100 bytes", size)
	}
}

func BenchmarkWrite(b *testing.B) {
	l := open(b, b.TempDir(), 0)
	v := make([]byte, 3000)
	i := 0
	for b.Loop() {
		i++
		must(b, l.Write(Entry{Key: fmt.Sprint("key of forty bytes ", i), Value: v}))
	}
}

func BenchmarkGet(b *testing.B) {
	l := open(b, b.TempDir(), 0)
	v := make([]byte, 300)
	const n = 100_000
	for i := range n {
		must(b, l.Write(Entry{Key: fmt.Sprint("key of forty bytes ", i), Value: v}))
	}
	l.work.Wait()
	b.Logf("%d tables", len(l.tables))
	for b.Loop() {
		_, err := l.Get(fmt.Sprint("key of forty bytes ", rand.IntN(n)))
		must(b, err)
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	l := open(b, dir, 0)
	v := make([]byte, 300)
	for i := range 100_000 {
		must(b, l.Write(Entry{Key: fmt.Sprint("key of forty bytes ", i), Value: v}))
	}
	must(b, l.Close())
	for b.Loop() {
		l, err := Open(dir, Config{})
		must(b, err)
		must(b, l.Close())
	}
}
