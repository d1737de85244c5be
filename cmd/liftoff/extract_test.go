//go:build !windows

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// entries encodes a directory with any names, valid or not.
func entries(t *testing.T, blocks dag.Blocks, pairs ...any) cid.Cid {
	t.Helper()
	var node []byte
	for i := 0; i < len(pairs); i += 2 {
		var link []byte
		link = protowire.AppendTag(link, 1, protowire.BytesType)
		link = protowire.AppendBytes(link, pairs[i+1].(cid.Cid).Bytes())
		link = protowire.AppendTag(link, 2, protowire.BytesType)
		link = protowire.AppendString(link, pairs[i].(string))
		node = protowire.AppendTag(node, 2, protowire.BytesType)
		node = protowire.AppendBytes(node, link)
	}
	node = protowire.AppendTag(node, 1, protowire.BytesType)
	node = protowire.AppendBytes(node, []byte{8, 1}) // a UnixFS directory
	b := dag.NewBlock(cid.DagProtobuf, node)
	if err := blocks.Put(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b.CID()
}

func file(t *testing.T, blocks dag.Blocks, content string) cid.Cid {
	t.Helper()
	e, err := dag.AddFile(t.Context(), blocks, strings.NewReader(content), dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

func symlink(t *testing.T, blocks dag.Blocks, target string) cid.Cid {
	t.Helper()
	e, err := dag.AddSymlink(t.Context(), blocks, target, dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

// TestExtractHostile writes directories with names that lead out of the target. Nothing
// outside the target changes, and a refused directory leaves nothing behind.
func TestExtractHostile(t *testing.T) {
	var blocks dag.MemBlocks
	evil := file(t, &blocks, "evil")
	inner := entries(t, &blocks, "victim", evil)
	for name, root := range map[string]cid.Cid{
		"parent":             entries(t, &blocks, "..", inner),
		"parent's file":      entries(t, &blocks, "../victim", evil),
		"absolute":           entries(t, &blocks, "/tmp/liftoff-evil", evil),
		"self":               entries(t, &blocks, ".", inner),
		"empty name":         entries(t, &blocks, "", evil),
		"NUL":                entries(t, &blocks, "a\x00b", evil),
		"slash":              entries(t, &blocks, "a/b", evil),
		"twice":              entries(t, &blocks, "a", evil, "a", evil),
		"through a symlink":  entries(t, &blocks, "a", symlink(t, &blocks, "../outside"), "a", inner),
		"below a symlink":    entries(t, &blocks, "a", symlink(t, &blocks, ".."), "a", entries(t, &blocks, "outside", inner)),
		"nested":             entries(t, &blocks, "d", entries(t, &blocks, "../../victim", evil)),
		"name of the parent": entries(t, &blocks, "d", entries(t, &blocks, "..", inner)),
	} {
		for _, force := range []bool{false, true} {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "outside"), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "victim"), "good")
			x := extraction{blocks: &blocks, force: force, progress: io.Discard}
			if err := x.to(t.Context(), root, filepath.Join(dir, "target")); err == nil {
				t.Errorf("%s, force %v: no error", name, force)
			}
			if got := tree(t, dir); got != "outside/\nvictim good\n" {
				t.Errorf("%s, force %v: left behind:\n%s", name, force, got)
			}
		}
	}
}

// TestExtractSymlink writes a symlink to the path of another symlink, which stays, with force, too.
// With force it replaces a file.
func TestExtractSymlink(t *testing.T) {
	var blocks dag.MemBlocks
	made, dir := symlink(t, &blocks, "elsewhere"), t.TempDir()
	x := extraction{blocks: &blocks, force: true}
	at := filepath.Join(dir, "link")
	for _, to := range []string{"nowhere", "file"} {
		os.Remove(at)
		link(t, to, at)
		write(t, filepath.Join(dir, "file"), "content")
		if err := x.to(t.Context(), made, at); codeOf(err) != exitUsage {
			t.Errorf("over a symlink to %s: %v", to, err)
		}
		if now, err := os.Readlink(at); err != nil || now != to {
			t.Errorf("the symlink leads to %q, %v, want %q", now, err, to)
		}
	}
	for _, name := range []string{"file", "free"} {
		if err := x.to(t.Context(), made, filepath.Join(dir, name)); err != nil {
			t.Errorf("to %s: %v", name, err)
		}
		if to, err := os.Readlink(filepath.Join(dir, name)); err != nil || to != "elsewhere" {
			t.Errorf("%s leads to %q, %v", name, to, err)
		}
	}
}

// TestExtractForce merges into a target that holds symlinks out of it.
func TestExtractForce(t *testing.T) {
	var blocks dag.MemBlocks
	root := entries(t, &blocks, "dir", entries(t, &blocks, "new", file(t, &blocks, "new")), "file", file(t, &blocks, "new"))
	x := extraction{blocks: &blocks, force: true, progress: io.Discard}

	dir := t.TempDir()
	for _, d := range []string{"outside", "target"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "outside", "file"), "good")
	link(t, "../outside", filepath.Join(dir, "target", "dir"))
	if err := x.to(t.Context(), root, filepath.Join(dir, "target")); err == nil {
		t.Error("a directory was written through a symlink out of the target")
	}
	if got, want := tree(t, filepath.Join(dir, "outside")), "file good\n"; got != want {
		t.Errorf("outside the target:\n%s", got)
	}

	dir = t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "target", "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "outside"), "good")
	write(t, filepath.Join(dir, "target", "mine"), "mine")
	link(t, "../outside", filepath.Join(dir, "target", "file"))
	if err := x.to(t.Context(), root, filepath.Join(dir, "target")); codeOf(err) != exitUsage || !strings.Contains(err.Error(), "is a symlink: refusing to replace it") {
		t.Errorf("over a symlink: %v", err)
	}
	if to, err := os.Readlink(filepath.Join(dir, "target", "file")); err != nil || to != "../outside" {
		t.Errorf("the symlink leads to %q, %v", to, err)
	}
	if got := tree(t, dir); !strings.HasPrefix(got, "outside good\n") || !strings.HasSuffix(got, "target/file good\ntarget/mine mine\n") {
		t.Errorf("got:\n%s", got)
	}
}

// TestExtractBroken ends an extraction in the middle: nothing is left behind.
func TestExtractBroken(t *testing.T) {
	var blocks dag.MemBlocks
	lost := file(t, &blocks, "lost")
	root := entries(t, &blocks, "a", file(t, &blocks, "a"), "b", lost)
	blocks.Delete(lost)
	dir := t.TempDir()
	x := extraction{blocks: &blocks, progress: io.Discard}
	if err := x.to(t.Context(), root, filepath.Join(dir, "target")); codeOf(err) != exitFault {
		t.Errorf("%v, want a missing block", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.to(ctx, root, filepath.Join(dir, "target")); err == nil {
		t.Error("no error after a cancel")
	}
	if got := tree(t, dir); got != "" {
		t.Errorf("left behind:\n%s", got)
	}
}

// TestExtractMany writes more than one batch: many files in nested directories, including large files
// and symlinks. Then a block is missing, and nothing is left behind.
func TestExtractMany(t *testing.T) {
	var blocks dag.MemBlocks
	var want strings.Builder
	var root cid.Cid
	large := strings.Repeat("0123456789abcdef", (largeFile+1000)/16)
	for depth := range 4 {
		var pairs []any
		for i := range 3*batchFiles + depth {
			name, content := fmt.Sprintf("%03d", i), fmt.Sprintf("%d in %d", i, depth)
			if i%20 == 10 {
				content += large
			}
			pairs = append(pairs, name, file(t, &blocks, content))
		}
		pairs = append(pairs, "link", symlink(t, &blocks, "000"))
		if depth > 0 {
			pairs = append(pairs, "zz", root)
		}
		root = entries(t, &blocks, pairs...)
	}
	for at, depth := "target/", 3; depth >= 0; at, depth = at+"zz/", depth-1 {
		fmt.Fprintln(&want, at)
		for i := range 3*batchFiles + depth {
			content := fmt.Sprintf("%d in %d", i, depth)
			if i%20 == 10 {
				content += large
			}
			fmt.Fprintf(&want, "%s%03d %s\n", at, i, content)
		}
		fmt.Fprintf(&want, "%slink 0 in %d\n", at, depth)
	}
	for _, force := range []bool{false, true} {
		dir := t.TempDir()
		x := extraction{blocks: &blocks, force: force, progress: io.Discard}
		times := 1
		if force {
			times = 2 // the second time it replaces the files
		}
		for range times {
			if err := x.to(t.Context(), root, filepath.Join(dir, "target")); err != nil {
				t.Fatal(err)
			}
			if got := tree(t, dir); got != want.String() {
				t.Fatalf("force %v: got %d bytes:\n%.300s\nwant %d:\n%.300s", force, len(got), got, want.Len(), want.String())
			}
		}
	}
	blocks.Delete(file(t, &blocks, "31 in 1"))
	dir := t.TempDir()
	x := extraction{blocks: &blocks, progress: io.Discard}
	if err := x.to(t.Context(), root, filepath.Join(dir, "target")); codeOf(err) != exitFault {
		t.Errorf("%v, want a missing block", err)
	}
	if got := tree(t, dir); got != "" {
		t.Errorf("left behind:\n%.300s", got)
	}
}

func TestExtractDeep(t *testing.T) {
	var blocks dag.MemBlocks
	root := entries(t, &blocks)
	for range maxExtractDepth + 10 {
		root = entries(t, &blocks, "d", root)
	}
	dir := t.TempDir()
	x := extraction{blocks: &blocks, progress: io.Discard}
	if err := x.to(t.Context(), root, filepath.Join(dir, "target")); err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("%v, want one about depth", err)
	}
	if got := tree(t, dir); got != "" {
		t.Errorf("left behind:\n%s", got)
	}
}

// TestWriteFileFails fails to write a file: the message names the file of the command
// line, and nothing is left behind.
func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "out.car")
	err := writeFile(t.Context(), target, false, func(w io.Writer) error {
		w.(*os.File).Close() // like a full disk
		_, err := w.Write([]byte("x"))
		return fmt.Errorf("write CAR: %w", err)
	})
	if err == nil || err.Error() != "write "+target+": file already closed" {
		t.Errorf("%v", err)
	}
	if got := tree(t, dir); got != "" {
		t.Errorf("left behind:\n%s", got)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// tree lists the files below dir: directories with a slash, files with their content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if d.IsDir() {
			out.WriteString(name + "/\n")
			return nil
		}
		content, err := os.ReadFile(path)
		out.WriteString(name + " " + string(content) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// ordered is a dag.Blocks that delivers blocks in the order of the DAG and records the order of reads.
type ordered struct {
	dag.MemBlocks
	mu   sync.Mutex
	read []cid.Cid
}

func (o *ordered) ReadInOrder() {}

func (o *ordered) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	o.mu.Lock()
	o.read = append(o.read, c)
	o.mu.Unlock()
	return o.MemBlocks.Get(ctx, c)
}

// TestExtractInOrder reads files one after the other when blocks arrive in order.
func TestExtractInOrder(t *testing.T) {
	var blocks ordered
	var pairs []any
	var files []cid.Cid
	for i := range 4 {
		files = append(files, file(t, &blocks.MemBlocks, strings.Repeat(string(rune('a'+i)), 3*largeFile+i)))
		pairs = append(pairs, fmt.Sprint(i), files[i])
	}
	root := entries(t, &blocks.MemBlocks, pairs...)
	x := extraction{blocks: &blocks, progress: io.Discard}
	if err := x.to(t.Context(), root, filepath.Join(t.TempDir(), "target")); err != nil {
		t.Fatal(err)
	}
	at := 0
	for i, f := range files {
		var below []cid.Cid
		err := dag.Walk(t.Context(), &blocks.MemBlocks, []cid.Cid{f}, dag.WalkOptions{}, func(v dag.Visited) error {
			below = append(below, v.CID)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		begin := at
		for at < len(blocks.read) && (blocks.read[at] == root || slices.Contains(below, blocks.read[at])) {
			at++
		}
		if at-begin < len(below) {
			t.Fatalf("file %d: %d of %d blocks are read in a row", i, at-begin, len(below))
		}
	}
}
