//go:build !windows

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// extraction writes files, directories and symlinks from blocks to the disk. Every name is
// opened below an os.Root, so that neither a hostile name nor a symlink, even one that was
// just written, leads out of the target.
type extraction struct {
	blocks   dag.Blocks
	force    bool      // replace existing files
	progress io.Writer // receives every byte of content; from several goroutines
}

// maxExtractDepth bounds nested directories: each one holds a file descriptor.
const maxExtractDepth = 512

// checkTarget returns the error of takesAny for a path. Commands call it before the work that makes the content.
func checkTarget(name string, force bool) error {
	t, err := findTarget(name)
	if err != nil {
		return err
	}
	return t.takesAny(force)
}

// to writes the content of c to the path name: under a temporary name first, so that an
// extraction that fails leaves nothing behind. With force, files are replaced and folders are
// merged; a file can also be written into a device or a FIFO.
func (x extraction) to(ctx context.Context, c cid.Cid, name string) error {
	t, err := findTarget(name)
	if err != nil {
		return err
	}
	if err := t.takesAny(x.force); err != nil {
		return err
	}
	kind, err := dag.Kind(ctx, x.blocks, c)
	if err != nil {
		return err
	}
	switch {
	case kind == abi.KindSymlink && t.info != nil: // an existing symlink is neither followed nor replaced
		if t.info, err = os.Lstat(filepath.Clean(name)); err != nil {
			return pathError(name, err)
		}
		if t.info.Mode()&fs.ModeSymlink != 0 {
			return usagef("output path %s is a symlink: refusing to replace it", quote(name))
		}
		fallthrough
	case kind == abi.KindDirectory:
		if t.isStream() {
			return usagef("output path %s is %s: only a file can be written there, and %s is not a file", quote(name), kindOf(t.info.Mode()), c)
		}
	case t.isStream():
		return t.stream(ctx, func(w io.Writer) error { return x.content(ctx, w, c) })
	case t.info != nil && t.info.IsDir():
		return usagef("output path %s is a folder, and %s is not a directory", quote(name), c)
	}
	return x.place(ctx, t, c, kind)
}

// place writes the content of c, of that kind, to t, which is not a stream.
func (x extraction) place(ctx context.Context, t target, c cid.Cid, kind int) (err error) {
	folder, name := filepath.Dir(t.path), filepath.Base(t.path)
	if name == "." || name == ".." || name == "/" {
		if t.path, err = filepath.Abs(t.path); err != nil {
			return err
		}
		folder, name = filepath.Dir(t.path), filepath.Base(t.path)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return pathError(folder, err)
	}
	defer root.Close()
	if t.info != nil && kind == abi.KindDirectory && x.force {
		return x.all(ctx, root, name, c, kind, nil)
	}
	at, err := openOutDir(root)
	if err != nil {
		return pathError(folder, err)
	}
	defer at.dir.Close()
	temporary := temporaryName(name)
	defer func() {
		if err == nil {
			return
		}
		root.RemoveAll(temporary)
		if inner := (*fs.PathError)(nil); errors.As(err, &inner) { // it names the temporary path
			err = fmt.Errorf("write %w", pathError(t.name, err))
		}
	}()
	if err := x.all(ctx, root, temporary, c, kind, t.info); err != nil {
		return err
	}
	if t.info != nil && t.info.IsDir() { // it is empty, or Remove fails
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	return at.install(temporary, name, x.force)
}

// temporaryName returns a hidden name for a file that becomes name when it is complete.
func temporaryName(name string) string {
	return "." + name[:min(len(name), 100)] + "." + rand.Text()[:10]
}

// all writes the content of c as name, which must not exist; with force, into an existing
// directory. A file gets the mode of old, if old is a file.
func (x extraction) all(ctx context.Context, root *os.Root, name string, c cid.Cid, kind int, old fs.FileInfo) error {
	e := extracting{extraction: x}
	_, e.inOrder = x.blocks.(interface{ ReadInOrder() })
	if kind != abi.KindDirectory {
		return e.leaf(ctx, root, name, c, kind, old)
	}
	e.leaves, ctx = errgroup.WithContext(ctx)
	e.leaves.SetLimit(1 + runtime.GOMAXPROCS(0)) // more would wait for each other in the kernel, as they create files in one directory
	e.leaves.Go(func() error { return e.directory(ctx, root, name, c, 0) })
	return e.leaves.Wait()
}

// extracting is a running extraction: one goroutine makes directories, others make the files and symlinks in them.
type extracting struct {
	extraction
	leaves  *errgroup.Group
	inOrder bool       // blocks arrive in the order of the DAG, and one goroutine writes all files
	large   sync.Mutex // held while a large file is written, which is read on all cores
}

// leaf writes the file or symlink c as name, which must not exist. A file gets the mode of
// old, if old is a file.
func (x *extracting) leaf(ctx context.Context, root *os.Root, name string, c cid.Cid, kind int, old fs.FileInfo) error {
	switch kind {
	case abi.KindRaw, abi.KindFile:
		return x.file(ctx, root, name, c, old)
	case abi.KindSymlink:
		target, err := dag.ReadLink(ctx, x.blocks, c)
		if err != nil {
			return err
		}
		return root.Symlink(target, name)
	}
	return hinted(fmt.Errorf("%s is neither a file nor a directory", c), "%s", showBlock(c))
}

// largeFile is the size in bytes above which a file is read on all cores.
const largeFile = 1 << 20

func (x *extracting) file(ctx context.Context, root *os.Root, name string, c cid.Cid, old fs.FileInfo) (err error) {
	content, err := dag.OpenFile(ctx, x.blocks, c)
	if err != nil {
		return err
	}
	defer content.Close()
	if content.Size() > largeFile {
		x.large.Lock()
		defer x.large.Unlock()
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modeOf(old))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err = content.WriteTo(ctx, io.MultiWriter(f, x.progress)); err != nil {
		return err
	}
	return keepMode(f, old)
}

// content writes the bytes of the file c to w.
func (x extraction) content(ctx context.Context, w io.Writer, c cid.Cid) error {
	content, err := dag.OpenFile(ctx, x.blocks, c)
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = content.WriteTo(ctx, io.MultiWriter(w, x.progress))
	return err
}

// folder is a directory that is written to. It is closed when its last user releases it.
type folder struct {
	outDir
	users atomic.Int32
}

// openFolder opens the directory name in root. A symlink to a directory is refused: the files
// below it do not belong to the target, even if they are in root.
func openFolder(root *os.Root, name string) (*folder, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	f := &folder{}
	f.users.Store(1)
	if f.outDir, err = openOutDir(sub); err != nil {
		sub.Close()
		return nil, err
	}
	if opened, err := f.dir.Stat(); err != nil || !os.SameFile(info, opened) {
		f.release()
		return nil, usagef("output path %s is %s, want a folder", quote(sub.Name()), kindOf(info.Mode()))
	}
	return f, nil
}

func (f *folder) release() {
	if f.users.Add(-1) == 0 {
		f.dir.Close()
		f.root.Close()
	}
}

// directory writes the directory c as name; with force, into an existing one. It returns when all its entries are
// written or given to the goroutines that write them.
func (x *extracting) directory(ctx context.Context, root *os.Root, name string, c cid.Cid, depth int) error {
	if depth > maxExtractDepth {
		return fmt.Errorf("%s: directories are nested more than %d deep", c, maxExtractDepth)
	}
	d, err := dag.OpenDir(ctx, x.blocks, c)
	if err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o777); err != nil && !(x.force && errors.Is(err, fs.ErrExist)) {
		return err
	}
	sub, err := openFolder(root, name)
	if err != nil {
		return err
	}
	defer sub.release()
	seen := make(map[string]bool)
	var some batch
	err = d.Each(ctx, func(e dag.DirEntry) error {
		if err := checkEntryName(e.Name); err != nil {
			return fmt.Errorf("directory %s: %w", c, err)
		}
		if seen[e.Name] {
			return fmt.Errorf("directory %s: duplicate name %s", c, quote(e.Name))
		}
		seen[e.Name] = true
		kind, err := dag.Kind(ctx, x.blocks, e.CID)
		if err != nil {
			return err
		}
		if kind == abi.KindDirectory {
			return x.directory(ctx, sub.root, e.Name, e.CID, depth+1)
		}
		if some.add(e, kind) || x.inOrder {
			if err := x.hand(ctx, sub, some); err != nil {
				return err
			}
			some = batch{}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	})
	if herr := x.hand(ctx, sub, some); err == nil {
		err = herr
	}
	return err
}

// batch is a number of files and symlinks of one directory for one goroutine.
type batch struct {
	entries []dag.DirEntry
	kinds   []int
	bytes   uint64
}

// A batch is full when it reaches one of these.
const (
	batchFiles = 16
	batchBytes = 256 << 10
)

func (b *batch) add(e dag.DirEntry, kind int) (full bool) {
	b.entries = append(b.entries, e)
	b.kinds = append(b.kinds, kind)
	b.bytes += min(e.TSize, batchBytes) // a claim
	return len(b.entries) == batchFiles || b.bytes >= batchBytes
}

// hand gives some to a goroutine as soon as one is free. When blocks arrive in order, it writes them itself.
func (x *extracting) hand(ctx context.Context, in *folder, some batch) error {
	if x.inOrder {
		return x.children(ctx, in.outDir, some)
	}
	if len(some.entries) == 0 {
		return nil
	}
	in.users.Add(1)
	x.leaves.Go(func() error {
		defer in.release()
		return x.children(ctx, in.outDir, some)
	})
	return nil
}

func (x *extracting) children(ctx context.Context, in outDir, some batch) error {
	for i, e := range some.entries {
		if err := x.child(ctx, in, e, some.kinds[i]); err != nil {
			return err
		}
	}
	return nil
}

// child writes a file or symlink of a directory; with force, in the place of an existing one
// that may be replaced.
func (x *extracting) child(ctx context.Context, in outDir, e dag.DirEntry, kind int) error {
	if !x.force {
		return x.leaf(ctx, in.root, e.Name, e.CID, kind, nil)
	}
	old, err := in.root.Lstat(e.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temporary := temporaryName(e.Name)
	if err = x.leaf(ctx, in.root, temporary, e.CID, kind, old); err == nil {
		err = in.install(temporary, e.Name, true)
	}
	if err != nil {
		in.root.Remove(temporary)
	}
	return err
}

// checkEntryName refuses a string that cannot be the name of a directory entry.
func checkEntryName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%s is not a valid name of a file or folder", quote(name))
	}
	return nil
}
