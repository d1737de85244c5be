package dag

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

// The CIDs in testdata/golden.txt were made with Kubo v0.43.0 (go test -run Kubo -update, with LIFTOFF_TEST_KUBO
// set): this package must yield the same ones.
var update = flag.Bool("update", false, "write testdata/golden.txt with Kubo's CIDs")

const goldenFile = "testdata/golden.txt"

// sample is content to add: an in-memory file system whose only top entry is "root".
type sample struct {
	name string
	make func(p Profile) fstest.MapFS
	big  bool // only made when necessary
}

func samples() []sample {
	files := []sample{}
	for _, f := range []struct {
		name string
		size func(p Profile) int
	}{
		{"file-0", func(Profile) int { return 0 }},
		{"file-1", func(Profile) int { return 1 }},
		{"file-chunk-1", func(p Profile) int { return p.ChunkSize - 1 }},
		{"file-chunk", func(p Profile) int { return p.ChunkSize }},
		{"file-chunk+1", func(p Profile) int { return p.ChunkSize + 1 }},
		{"file-5MiB+7", func(Profile) int { return 5<<20 + 7 }},
		{"file-44MiB", func(Profile) int { return 44 << 20 }},
	} {
		files = append(files, sample{name: f.name, make: func(p Profile) fstest.MapFS { return fstest.MapFS{"root": {Data: noise(f.size(p))}} }})
	}
	files = append(files, sample{"file-1GiB", func(Profile) fstest.MapFS { return fstest.MapFS{"root": {Data: noise(1 << 30)}} }, true})
	return append(files,
		sample{name: "dir-empty", make: func(Profile) fstest.MapFS { return fstest.MapFS{"root": {Mode: fs.ModeDir | 0o755}} }},
		sample{name: "dir-10", make: manyFiles(10)},
		sample{name: "dir-5000", make: manyFiles(5000)},
		sample{name: "dir-20000", make: manyFiles(20000)},
		sample{name: "dir-at-threshold", make: func(p Profile) fstest.MapFS { return thresholdDir(p, 0) }},
		sample{name: "dir-over-threshold", make: func(p Profile) fstest.MapFS { return thresholdDir(p, 1) }},
		sample{name: "names", make: scripts},
		sample{name: "tree", make: nested},
	)
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1, 2, 3})
	r.Read(b)
	return b
}

func manyFiles(n int) func(Profile) fstest.MapFS {
	return func(Profile) fstest.MapFS {
		m := fstest.MapFS{"root": {Mode: fs.ModeDir | 0o755}}
		for i := range n {
			m[fmt.Sprintf("root/entry-%05d.txt", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "content %d\n", i), Mode: 0o644}
		}
		return m
	}
}

// thresholdDir is a directory that exceeds the size at which the profile shards by extra bytes.
func thresholdDir(p Profile, extra int) fstest.MapFS {
	m := fstest.MapFS{"root": {Mode: fs.ModeDir | 0o755}}
	var bs MemBlocks
	leaf, err := AddFile(context.Background(), &bs, strings.NewReader("x"), p)
	if err != nil {
		panic(err)
	}
	d := NewDirWriter(&bs, p)
	for i := 0; p.ShardSize-d.size > 400; i++ {
		name := fmt.Sprintf("%06d", i) + strings.Repeat("n", 94)
		m["root/"+name] = &fstest.MapFile{Data: []byte("x"), Mode: 0o644}
		if err := d.Add(name, leaf); err != nil {
			panic(err)
		}
	}
	return fitLast(m, p, leaf, p.ShardSize+extra-d.size)
}

// fitLast adds entries that take exactly room bytes.
func fitLast(m fstest.MapFS, p Profile, leaf Entry, room int) fstest.MapFS {
	empty := NewDirWriter(nil, p).size
	for a := 1; a < 120; a++ {
		names := []string{strings.Repeat("a", a)}
		for b := 'b'; b < 'h'; b++ {
			d := NewDirWriter(nil, p)
			for _, n := range names {
				if err := d.Add(n, leaf); err != nil {
					panic(err)
				}
			}
			if d.size-empty == room {
				for _, n := range names {
					m["root/"+n] = &fstest.MapFile{Data: []byte("x"), Mode: 0o644}
				}
				return m
			}
			names = append(names, strings.Repeat(string(b), 40))
		}
	}
	panic("no names fit")
}

func scripts(Profile) fstest.MapFS {
	m := fstest.MapFS{"root": {Mode: fs.ModeDir | 0o755}}
	for _, name := range []string{
		"ascii", "with space", "ünïcödé", "日本語", "العربية", "עברית", "हिन्दी", "ไทย", "😀🎉", "e\u0301", "é",
		"new\nline", "tab\tbed", "esc\x1b[31mred", "quote\"'`", "back\\slash", "percent%20", "plus+", "?query#frag", "a&b=c;d", "-dash", "~tilde",
		"UPPER", "upper", strings.Repeat("long", 60),
	} {
		m["root/"+name] = &fstest.MapFile{Data: []byte(name), Mode: 0o644}
	}
	return m
}

func nested(Profile) fstest.MapFS {
	m := fstest.MapFS{
		"root":              {Mode: fs.ModeDir | 0o755},
		"root/a/b/c/d/deep": {Data: []byte("deep"), Mode: 0o644},
		"root/a/empty":      {Mode: fs.ModeDir | 0o755},
		"root/a/b/big":      {Data: noise(3 << 20), Mode: 0o600},
		"root/exec":         {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
		"root/link":         {Data: []byte("a/b/big"), Mode: fs.ModeSymlink | 0o777},
		"root/a/up":         {Data: []byte("../exec"), Mode: fs.ModeSymlink | 0o777},
		"root/dangling":     {Data: []byte("/no/such/ünicode"), Mode: fs.ModeSymlink | 0o777},
		"root/.hidden":      {Data: []byte("not seen"), Mode: 0o644},
		"root/.dir/inside":  {Data: []byte("not seen"), Mode: 0o644},
	}
	for i := range 12 {
		m[path.Join("root/many", fmt.Sprint(i), "x")] = &fstest.MapFile{Data: fmt.Append(nil, i), Mode: 0o644}
	}
	return m
}

func readGolden(t *testing.T) map[string]string {
	b, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	golden := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		var profile, name, c string
		if _, err := fmt.Sscan(line, &profile, &name, &c); err != nil {
			t.Fatalf("%s: %q: %v", goldenFile, line, err)
		}
		golden[profile+" "+name] = c
	}
	return golden
}

func addSample(t testing.TB, bs Blocks, m fstest.MapFS, p Profile) Entry {
	t.Helper()
	e, err := AddTree(context.Background(), bs, m, "root", TreeOptions{Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestGoldenCIDs(t *testing.T) {
	golden := readGolden(t)
	for _, p := range []Profile{UnixFSv1, UnixFSv0} {
		for _, s := range samples() {
			if s.big {
				continue
			}
			t.Run(p.Name+"/"+s.name, func(t *testing.T) {
				want, ok := golden[p.Name+" "+s.name]
				if !ok {
					t.Fatalf("no golden CID")
				}
				if e := addSample(t, dropBlocks{}, s.make(p), p); e.CID.String() != want {
					t.Errorf("got %s, want %s", e.CID, want)
				}
			})
		}
	}
}
