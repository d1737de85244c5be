package wasm

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// cached returns a Harness with an Executor over dir, and its log.
func cached(t testing.TB, dir string, most int64) (*runtimetest.Harness, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	return runtimetest.NewHarness(open(t, Config{CacheDir: dir, CacheMax: most, Log: slog.New(slog.NewTextHandler(&log, nil))})), &log
}

// runOK runs a module that exits with 0.
func runOK(t testing.TB, w *runtimetest.Harness, module []byte) {
	t.Helper()
	if o := w.Run(t, w.Task(t, module)).Outcome; o.State != job.OK {
		t.Errorf("%s %d", o.State, o.Code)
	}
}

// entries returns the folders of the compiled modules in the cache.
func entries(t testing.TB, dir string) (paths []string) {
	t.Helper()
	compiled, _ := allEntries(t, dir)
	return compiled
}

// allEntries returns the folders of the compiled and of the rewritten modules.
func allEntries(t testing.TB, dir string) (compiled, rewritten []string) {
	t.Helper()
	des, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, de := range des {
		path := filepath.Join(dir, de.Name())
		if strings.HasPrefix(de.Name(), stagePrefix) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(path, rewrittenName)); err == nil {
			rewritten = append(rewritten, path)
		} else {
			compiled = append(compiled, path)
		}
	}
	return compiled, rewritten
}

// TestRewrittenIsKept checks that a second process uses the stored rewritten module, and
// notices one that the first process has not written.
func TestRewrittenIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	w, _ := cached(t, dir, 0)
	runOK(t, w, runtimetest.Module("ok"))
	_, kept := allEntries(t, dir)
	if len(kept) != 1 {
		t.Fatalf("rewritten modules: got %v", kept)
	}
	file := filepath.Join(kept[0], rewrittenName)
	before := inode(t, file)
	second, log := cached(t, dir, 0)
	runOK(t, second, runtimetest.Module("ok"))
	if !os.SameFile(before, inode(t, file)) || log.Len() > 0 {
		t.Errorf("rewritten again: %s", log)
	}

	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(b)
	forged[len(b)-1] ^= 1
	if err := os.WriteFile(file, forged, 0o600); err != nil {
		t.Fatal(err)
	}
	third, log := cached(t, dir, 0)
	runOK(t, third, runtimetest.Module("ok"))
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, b) || !strings.Contains(log.String(), "rewriting again") {
		t.Errorf("forgery not noticed: %v %s", err, log)
	}
}

// code returns the path of wazero's file in an entry.
func code(t testing.TB, entry string) string {
	t.Helper()
	des, err := os.ReadDir(entry)
	if err != nil || len(des) != 2 {
		t.Fatalf("entry %s: %v %v", entry, des, err)
	}
	return filepath.Join(entry, des[0].Name())
}

// distinct returns a different module for each n.
func distinct(n byte) []byte {
	a := guest(0x41, 0)
	a.add(sectionData, cat([]byte{1}, vec([]byte{n}))...)
	return a.bytes()
}

func inode(t testing.TB, path string) os.FileInfo {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi
}

func TestDiskCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a [strange] name*", "cache")
	w, log := cached(t, dir, 0)
	runOK(t, w, runtimetest.Module("ok"))
	es := entries(t, dir)
	if len(es) != 1 {
		t.Fatalf("entries %v", es)
	}
	before := inode(t, code(t, es[0]))

	second, secondLog := cached(t, dir, 0)
	runOK(t, second, runtimetest.Module("ok"))
	if after := inode(t, code(t, es[0])); !os.SameFile(before, after) {
		t.Error("the second executor compiled the module again")
	}
	if log.Len()+secondLog.Len() > 0 {
		t.Errorf("log: %s%s", log, secondLog)
	}
	if perm := inode(t, dir).Mode().Perm(); perm != 0o700 {
		t.Errorf("cache: mode %v", perm)
	}
	if key := inode(t, dir+".key"); key.Mode().Perm() != 0o600 || key.Size() != keyBytes {
		t.Errorf("key: mode %v and %d bytes", key.Mode().Perm(), key.Size())
	}
}

// TestForgedCache changes the cache's files in every way that an attacker could: each time the
// entry is discarded, and the module compiled again.
func TestForgedCache(t *testing.T) {
	module := runtimetest.Module("ok")
	for name, forge := range map[string]func(t *testing.T, dir, entry string){
		"native code": func(t *testing.T, _, entry string) {
			path := code(t, entry)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			writeNew(t, path, b)
		},
		"truncated": func(t *testing.T, _, entry string) {
			if err := os.Truncate(code(t, entry), 10); err != nil {
				t.Fatal(err)
			}
		},
		"another module's entry": func(t *testing.T, dir, entry string) {
			w, _ := cached(t, dir, 0)
			runOK(t, w, distinct(1))
			for _, other := range entries(t, dir) {
				if other == entry {
					continue
				}
				if err := os.RemoveAll(entry); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(other, entry); err != nil {
					t.Fatal(err)
				}
			}
		},
		"renamed file": func(t *testing.T, _, entry string) {
			if err := os.Rename(code(t, entry), filepath.Join(entry, strings.Repeat("0", 64))); err != nil {
				t.Fatal(err)
			}
		},
		"no mac": func(t *testing.T, _, entry string) {
			if err := os.Remove(filepath.Join(entry, macName)); err != nil {
				t.Fatal(err)
			}
		},
		"symlink": func(t *testing.T, dir, entry string) {
			path := code(t, entry)
			if err := os.Rename(path, dir+".moved"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(dir+".moved", path); err != nil {
				t.Fatal(err)
			}
		},
		"new key": func(t *testing.T, dir, _ string) { writeNew(t, dir+".key", make([]byte, keyBytes)) },
		"key that others can read": func(t *testing.T, dir, _ string) {
			if err := os.Chmod(dir+".key", 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			w, _ := cached(t, dir, 0)
			runOK(t, w, module)
			forge(t, dir, entries(t, dir)[0])

			w, log := cached(t, dir, 0)
			runOK(t, w, module)
			if !strings.Contains(log.String(), "unusable") {
				t.Errorf("forgery not noticed: %s", log)
			}
			w, log = cached(t, dir, 0)
			runOK(t, w, module)
			if log.Len() > 0 {
				t.Errorf("entry not replaced: %s", log)
			}
		})
	}
}

// writeNew replaces path by a new file.
func writeNew(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCacheForAnotherProcessor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	w, _ := cached(t, dir, 0)
	runOK(t, w, runtimetest.Module("ok"))
	// wazero's file names depend on the processor's features: an entry with another name is
	// authentic, but cannot be used.
	entry := entries(t, dir)[0]
	e := w.Executor.(*Executor).engine
	tmp := t.TempDir()
	name := strings.Repeat("ab", 32)
	if err := os.Rename(code(t, entry), filepath.Join(tmp, name)); err != nil {
		t.Fatal(err)
	}
	if err := e.disk.store(filepath.Base(entry), tmp, ""); err != nil {
		t.Fatal(err)
	}
	if filepath.Base(code(t, entry)) != name {
		t.Fatal("entry not replaced")
	}
	w, log := cached(t, dir, 0)
	runOK(t, w, runtimetest.Module("ok"))
	if got := filepath.Base(code(t, entry)); got == name || log.Len() > 0 {
		t.Errorf("entry: got file %s; log: %s", got, log)
	}
}

func TestCacheBound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	w, _ := cached(t, dir, 0)
	runOK(t, w, distinct(0))
	compiled, rewritten := allEntries(t, dir)
	oldest := compiled[0]
	size := dirSize(oldest) + dirSize(rewritten[0])
	w, _ = cached(t, dir, 3*size+size/2)
	past := time.Now().Add(-time.Hour)
	for _, e := range []string{oldest, rewritten[0]} {
		if err := os.Chtimes(e, past, past); err != nil {
			t.Fatal(err)
		}
	}
	for n := byte(1); n < 10; n++ {
		runOK(t, w, distinct(n))
		if n == 2 {
			if got := entries(t, dir); len(got) != 3 {
				t.Fatalf("%d entries, want 3", len(got))
			}
		}
	}
	got := entries(t, dir)
	if len(got) != 3 {
		t.Errorf("%d entries, want 3", len(got))
	}
	for _, e := range got {
		if e == oldest {
			t.Error("least recently used entry not evicted")
		}
	}
	tiny, _ := cached(t, dir, 1)
	runOK(t, tiny, distinct(20))
	if got := entries(t, dir); len(got) != 0 {
		t.Errorf("%d entries in a cache of 1 byte", len(got))
	}
}

// TestSharedCache runs several executors over the same folder concurrently.
func TestSharedCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var wg sync.WaitGroup
	for range 4 {
		w, log := cached(t, dir, 0)
		wg.Go(func() {
			for n := range byte(8) {
				runOK(t, w, distinct(n))
			}
			if log.Len() > 0 {
				t.Errorf("log: %s", log)
			}
		})
	}
	wg.Wait()
	if got := entries(t, dir); len(got) != 8 {
		t.Errorf("%d entries, want 8: %v", len(got), got)
	}
}

func TestStages(t *testing.T) {
	dir := t.TempDir()
	dead, err := newStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	dead.lock.Close() // as if its process had ended
	live, err := newStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead.dir); !os.IsNotExist(err) {
		t.Errorf("stage of a dead process not removed: %v", err)
	}
	sweepStages(dir)
	if _, err := os.Stat(live.dir); err != nil {
		t.Errorf("stage in use was removed: %v", err)
	}
	if err := live.close(); err != nil {
		t.Fatal(err)
	}
	if des, _ := os.ReadDir(dir); len(des) != 0 {
		t.Errorf("left over: %v", des)
	}
}

func TestCacheThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "cache"), open} {
		w, log := cached(t, dir, 0)
		runOK(t, w, runtimetest.Module("ok"))
		if !strings.Contains(log.String(), "not cached on disk") {
			t.Errorf("%s: log %q", dir, log)
		}
	}
}

// TestCacheThatFails removes the stage while wazero uses it: the module still runs.
func TestCacheThatFails(t *testing.T) {
	w, log := cached(t, filepath.Join(t.TempDir(), "cache"), 0)
	runOK(t, w, distinct(0))
	e := w.Executor.(*Executor).engine
	if err := os.Chmod(e.stage.files, 0o500); err != nil {
		t.Fatal(err)
	}
	if f, err := os.CreateTemp(e.stage.files, ""); err == nil { // root may write anywhere
		f.Close()
		os.Remove(f.Name())
		if err := os.Remove(e.stage.files); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Mkdir(e.stage.files, 0o700) })
	}
	runOK(t, w, distinct(1))
	if !strings.Contains(log.String(), "not cached") {
		t.Errorf("log %q", log)
	}
}

// TestNothingIsMadeBeforeUse opens an Executor and closes it: no cache folder is created.
func TestNothingIsMadeBeforeUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	e, err := New(t.Context(), Config{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("cache folder created: %v", err)
	}
}

func TestModulesInMemory(t *testing.T) {
	w := runtimetest.NewHarness(shared(t))
	ms := w.Executor.(*Executor).modules
	for n := range byte(maxModules + 20) {
		runOK(t, w, distinct(n))
	}
	if len(ms.m) != maxModules || ms.idle.Len() != maxModules {
		t.Errorf("%d modules in memory, %d idle, want %d", len(ms.m), ms.idle.Len(), maxModules)
	}
	runOK(t, w, distinct(0)) // evicted, compiled again

	// Two modules of 30 MiB leave no room for a third, nor for the small ones.
	for n := range byte(3) {
		a := guest(0x41, 0)
		a.add(sectionData, cat([]byte{1}, vec(append(make([]byte, 30<<20), n)))...)
		runOK(t, w, a.bytes())
	}
	if len(ms.m) != 2 || ms.size < 60<<20 || ms.size > maxIdleSize {
		t.Errorf("%d modules of %d bytes in memory", len(ms.m), ms.size)
	}

	// Many runs of one new module compile it once.
	task := w.Task(t, distinct(200))
	var wg sync.WaitGroup
	for range 8 {
		env := w.Env(t)
		wg.Go(func() {
			if _, err := w.Executor.Run(t.Context(), task, w.Limits, env); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if m := ms.m[task.Mod]; m == nil || m.refs != 0 {
		t.Errorf("module %+v", m)
	}
}

// TestRewrittenIsUsed checks that entries in use are evicted last.
func TestRewrittenIsUsed(t *testing.T) {
	c, err := openDiskCache(t.TempDir()+"/cache", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	key := rewrittenKey("bafyx")
	if err := c.write(key, []byte("module")); err != nil {
		t.Fatal(err)
	}
	entry := filepath.Join(c.dir, key)
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(entry, long, long); err != nil {
		t.Fatal(err)
	}
	b, err := c.read(key)
	fi, serr := os.Stat(entry)
	if err != nil || serr != nil || string(b) != "module" || !fi.ModTime().After(long.Add(time.Minute)) {
		t.Errorf("%q, %v, %v, used %v", b, err, serr, fi.ModTime())
	}
}
