package dag

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ipfs/go-cid"
)

// readTree reads a directory back: paths to contents, symlinks as "-> target".
func readTree(t *testing.T, bs Blocks, c cid.Cid, at string, into map[string]string) {
	t.Helper()
	kind, err := Kind(ctx, bs, c)
	if err != nil {
		t.Fatal(err)
	}
	switch kind {
	case 2:
		into[at+"/"] = ""
		d, err := OpenDir(ctx, bs, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Each(ctx, func(e DirEntry) error { readTree(t, bs, e.CID, at+"/"+e.Name, into); return nil }); err != nil {
			t.Fatal(err)
		}
	case 3:
		target, err := ReadLink(ctx, bs, c)
		if err != nil {
			t.Fatal(err)
		}
		into[at] = "-> " + target
	default:
		f, err := OpenFile(ctx, bs, c)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f.Reader(ctx))
		if err != nil {
			t.Fatal(err)
		}
		into[at] = string(b)
	}
}

func TestAddTreeFromDisk(t *testing.T) {
	dir := t.TempDir()
	m := nested(UnixFSv1)
	if err := os.CopyFS(dir, m); err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []bool{false, true} {
		bs := new(MemBlocks)
		var last Progress
		calls := 0
		e, err := AddTree(ctx, bs, os.DirFS(dir), "root", TreeOptions{Profile: UnixFSv1, Hidden: hidden, Progress: func(p Progress) {
			if p.Bytes < last.Bytes || p.Files < last.Files || p.Path == "" {
				t.Errorf("progress goes from %+v to %+v", last, p)
			}
			last = p
			calls++
		}})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		readTree(t, bs, e.CID, "root", got)
		files, size := int64(0), uint64(0)
		for name, f := range m {
			if strings.Contains(name, "/.") && !hidden {
				if _, ok := got[name]; ok {
					t.Errorf("%s was added", name)
				}
				continue
			}
			switch {
			case f.Mode.IsDir():
				if _, ok := got[name+"/"]; !ok {
					t.Errorf("directory %s is missing", name)
				}
				continue
			case f.Mode&fs.ModeSymlink != 0:
				if got[name] != "-> "+string(f.Data) {
					t.Errorf("%s is %q", name, got[name])
				}
			case got[name] != string(f.Data):
				t.Errorf("%s has %d bytes, want %d", name, len(got[name]), len(f.Data))
			}
			files++
			size += uint64(len(f.Data))
		}
		if last.Files != files || e.Size != size {
			t.Errorf("%d files of %d bytes, progress %+v; want %d of %d", last.Files, e.Size, last, files, size)
		}
		extent, err := Count(ctx, bs, e.CID)
		if err != nil || uint64(extent.Bytes) > e.TSize { // repeated blocks count once
			t.Errorf("TSize %d, but %+v, %v", e.TSize, extent, err)
		}
	}
}

func TestAddTreeRootKinds(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(".file", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	bs := new(MemBlocks)
	for name, kind := range map[string]int{".file": 0, "link": 3, ".": 2} {
		if e, err := AddTree(ctx, bs, os.DirFS(dir), name, TreeOptions{Profile: UnixFSv1}); err != nil || e.Kind != kind {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	if _, err := AddTree(ctx, bs, os.DirFS(dir), "gone", TreeOptions{Profile: UnixFSv1}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("missing path: %v", err)
	}
}

func TestAddTreeSpecialFiles(t *testing.T) {
	for what, make := range map[string]func(path string) error{
		"a named pipe": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a socket": func(path string) error {
			l, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
	} {
		dir, err := os.MkdirTemp("", "dag") // a short path, because a socket's path must be short
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := make(filepath.Join(dir, "d", "it")); err != nil {
			t.Fatal(err)
		}
		for _, root := range []string{"d", "d/it"} {
			_, err := AddTree(ctx, new(MemBlocks), os.DirFS(dir), root, TreeOptions{Profile: UnixFSv1})
			if err == nil || !strings.Contains(err.Error(), "d/it") || !strings.Contains(err.Error(), what) {
				t.Errorf("%s in %s: %v", what, root, err)
			}
		}
	}
}

func TestAddTreeNames(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "latin-\xfc"), nil, 0o644); err != nil {
		t.Skipf("SKIPPED: this file system takes only UTF-8: %v", err)
	}
	if _, err := AddTree(ctx, new(MemBlocks), os.DirFS(dir), ".", TreeOptions{Profile: UnixFSv1}); err == nil || !strings.Contains(err.Error(), `latin-\xfc`) {
		t.Errorf("a name that is not UTF-8: %v", err)
	}
	deep := fstest.MapFS{strings.Repeat("d/", 300) + "file": {}}
	if _, err := AddTree(ctx, new(MemBlocks), deep, "d", TreeOptions{Profile: UnixFSv1}); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("300 directories inside each other: %v", err)
	}
}

// changingFS is a file system whose file "root/file" changes after its first read.
type changingFS struct {
	fstest.MapFS
	then *fstest.MapFile
}

type changingFile struct {
	fs.File
	c changingFS
}

func (c changingFS) Open(name string) (fs.File, error) {
	f, err := c.MapFS.Open(name)
	if err == nil && name == "root/file" {
		return changingFile{f, c}, nil
	}
	return f, err
}

func (f changingFile) Read(b []byte) (int, error) {
	f.c.MapFS["root/file"] = f.c.then
	return f.File.Read(b)
}

func (f changingFile) Stat() (fs.FileInfo, error) { return f.c.Stat("root/file") }

func TestAddTreeFileThatChanges(t *testing.T) {
	before := fstest.MapFile{Data: []byte("content"), ModTime: time.Unix(1e9, 0)}
	touched, longer, shorter, other := before, before, before, before
	touched.ModTime = before.ModTime.Add(time.Nanosecond)
	longer.Data = []byte("content and more")
	shorter.Data = []byte("cont")
	other.Mode = fs.ModeNamedPipe
	for name, then := range map[string]*fstest.MapFile{"mtime": &touched, "grows": &longer, "shrinks": &shorter, "becomes a pipe": &other} {
		c := changingFS{fstest.MapFS{"root/file": &before}, then}
		_, err := AddTree(ctx, new(MemBlocks), c, "root", TreeOptions{Profile: UnixFSv1})
		var changed *ChangedError
		if !errors.As(err, &changed) || changed.Path != "root/file" {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := changingFS{fstest.MapFS{"root/file": &before}, &before}
	if _, err := AddTree(ctx, new(MemBlocks), c, "root", TreeOptions{Profile: UnixFSv1}); err != nil {
		t.Errorf("unchanged file: %v", err)
	}
}

// failAfter accepts n blocks and then fails.
type failAfter struct {
	MemBlocks
	mu sync.Mutex
	n  int
}

var errFull = errors.New("disk full")

func (f *failAfter) Put(ctx context.Context, bs ...Block) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n -= len(bs); f.n < 0 {
		return errFull
	}
	return f.MemBlocks.Put(ctx, bs...)
}

func TestAddErrors(t *testing.T) {
	for n := range 8 {
		if _, err := AddTree(ctx, &failAfter{n: n}, nested(UnixFSv1), "root", TreeOptions{Profile: UnixFSv1}); !errors.Is(err, errFull) || !strings.Contains(err.Error(), "add root") {
			t.Errorf("a store that fails after %d blocks: %v", n, err)
		}
		p := UnixFSv1
		p.ChunkSize = 10
		if _, err := AddFile(ctx, &failAfter{n: n}, bytes.NewReader(noise(1000)), p); !errors.Is(err, errFull) {
			t.Errorf("a store that fails after %d leaves: %v", n, err)
		}
		broken := errors.New("broken")
		if _, err := AddFile(ctx, new(MemBlocks), io.MultiReader(bytes.NewReader(noise(n*10)), failingReader{broken}), p); !errors.Is(err, broken) {
			t.Errorf("a reader that fails after %d leaves: %v", n, err)
		}
	}
	cause := errors.New("enough")
	cancelled, cancel := context.WithCancelCause(ctx)
	cancel(cause)
	if _, err := AddTree(cancelled, new(MemBlocks), nested(UnixFSv1), "root", TreeOptions{Profile: UnixFSv1}); !errors.Is(err, cause) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := AddFile(cancelled, new(MemBlocks), bytes.NewReader(noise(3<<20)), UnixFSv1); !errors.Is(err, cause) {
		t.Errorf("cancelled: %v", err)
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// TestFileWriter: a FileWriter yields the same file as AddFile, however it is written to.
func TestFileWriter(t *testing.T) {
	p := UnixFSv1
	p.ChunkSize, p.FileWidth = 100, 3
	for _, size := range []int{0, 1, 99, 100, 101, 300, 301, 5000} {
		data := noise(size)
		want, err := AddFile(ctx, new(MemBlocks), bytes.NewReader(data), p)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []int{1, 7, 100, 250, 10000} {
			w := NewFileWriter(ctx, new(MemBlocks), p)
			for rest := data; len(rest) > 0; rest = rest[min(step, len(rest)):] {
				if n, err := w.Write(rest[:min(step, len(rest))]); err != nil || n != min(step, len(rest)) {
					t.Fatal(n, err)
				}
			}
			if w.Size() != uint64(size) {
				t.Errorf("size %d, want %d", w.Size(), size)
			}
			if got, err := w.Finish(); err != nil || got != want {
				t.Errorf("%d bytes in steps of %d: %+v, %v; want %+v", size, step, got, err, want)
			}
			if _, err := w.Write([]byte("x")); err == nil {
				t.Error("a finished file accepted a write")
			}
			if _, err := w.Finish(); err == nil {
				t.Error("a file was finished twice")
			}
		}
	}
	w := NewFileWriter(ctx, &failAfter{n: 2}, p)
	if _, err := w.Write(noise(1000)); !errors.Is(err, errFull) {
		t.Errorf("a store that fails: %v", err)
	}
	if _, err := w.Finish(); !errors.Is(err, errFull) {
		t.Errorf("a store that failed: %v", err)
	}
}

// TestFileWriterCopies: the writer's buffer may be reused after Write.
func TestFileWriterCopies(t *testing.T) {
	bs, buf := new(MemBlocks), make([]byte, 1<<20)
	w := NewFileWriter(ctx, bs, UnixFSv1)
	for i := range 3 {
		for j := range buf {
			buf[j] = byte(i)
		}
		if _, err := w.Write(buf); err != nil {
			t.Fatal(err)
		}
	}
	e, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(ctx, bs, e.CID)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		b := make([]byte, 1)
		if _, err := f.ReadAt(ctx, b, int64(i)<<20); err != nil || b[0] != byte(i) {
			t.Errorf("chunk %d holds %d, %v", i, b[0], err)
		}
	}
}
