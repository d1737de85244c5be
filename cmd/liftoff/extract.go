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

// extraction writes files, directories and symlinks out of blocks. Every name is
// opened below an os.Root, so neither a hostile name nor a symlink, one that was just
// written included, leads out of the target.
type extraction struct {
	blocks   dag.Blocks
	force    bool      // write into what is there
	progress io.Writer // is told of every byte of content; from several goroutines
}

// maxExtractDepth bounds nested directories: each holds a file descriptor.
const maxExtractDepth = 512

// checkTarget refuses a target to which nothing can be written, as takesAny says. Commands
// call it before the work that makes the content.
func checkTarget(name string, force bool) error {
	t, err := findTarget(name)
	if err != nil {
		return err
	}
	return t.takesAny(force)
}

// to writes what c names to the path name: under another name first, so that a broken
// extraction leaves nothing half done. With force, files are replaced and folders are merged;
// a file can also be written into a device or a FIFO.
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
	case kind == abi.KindSymlink && t.info != nil: // what is there is neither followed nor, if it is a symlink, replaced
		if t.info, err = os.Lstat(filepath.Clean(name)); err != nil {
			return pathError(name, err)
		}
		if t.info.Mode()&fs.ModeSymlink != 0 {
			return usagef("%s is a symlink, and not replaced", quote(name))
		}
		fallthrough
	case kind == abi.KindDirectory:
		if t.isStream() {
			return usagef("%s is %s, and %s is not a file", quote(name), kindOf(t.info.Mode()), c)
		}
	case t.isStream():
		return t.stream(ctx, func(w io.Writer) error { return x.content(ctx, w, c) })
	case t.info != nil && t.info.IsDir():
		return usagef("%s is a folder, and %s is not", quote(name), c)
	}
	return x.place(ctx, t, c, kind)
}

// place writes what c names, of that kind, to t, which is not a stream.
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
		if inner := (*fs.PathError)(nil); errors.As(err, &inner) { // which names the temporary path
			err = fmt.Errorf("write %w", pathError(t.name, err))
		}
	}()
	if err := x.all(ctx, root, temporary, c, kind, t.info); err != nil {
		return err
	}
	if t.info != nil && t.info.IsDir() { // an empty one, or Remove fails
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	return at.install(temporary, name, x.force)
}

// temporaryName is a hidden name for what will be name.
func temporaryName(name string) string {
	return "." + name[:min(len(name), 100)] + "." + rand.Text()[:10]
}

// all writes what c names as name, which is not there; with force, into a directory that is.
// A file gets the mode of old, if that is one.
func (x extraction) all(ctx context.Context, root *os.Root, name string, c cid.Cid, kind int, old fs.FileInfo) error {
	e := extracting{extraction: x}
	_, e.inOrder = x.blocks.(interface{ ReadInOrder() })
	if kind != abi.KindDirectory {
		return e.leaf(ctx, root, name, c, kind, old)
	}
	e.leaves, ctx = errgroup.WithContext(ctx)
	e.leaves.SetLimit(1 + runtime.GOMAXPROCS(0)) // more would wait for each other in the kernel, to make files in one directory
	e.leaves.Go(func() error { return e.directory(ctx, root, name, c, 0) })
	return e.leaves.Wait()
}

// extracting is an extraction under way: one goroutine makes directories, others the files and symlinks in them.
type extracting struct {
	extraction
	leaves  *errgroup.Group
	inOrder bool       // blocks come in the order of the DAG, and one goroutine writes all
	large   sync.Mutex // held while a file is written that is read on all cores
}

// leaf writes the file or symlink c as name, which is not there. A file gets the mode of old,
// if that is one.
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

// content writes the file c into w.
func (x extraction) content(ctx context.Context, w io.Writer, c cid.Cid) error {
	content, err := dag.OpenFile(ctx, x.blocks, c)
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = content.WriteTo(ctx, io.MultiWriter(w, x.progress))
	return err
}

// folder is a directory that is written to: closed when nobody has it.
type folder struct {
	outDir
	users atomic.Int32
}

// openFolder opens the directory name in root. A symlink to one is refused: what is below it
// is not the target's, even where it is in root.
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
		return nil, usagef("%s is %s, want a folder", quote(sub.Name()), kindOf(info.Mode()))
	}
	return f, nil
}

func (f *folder) release() {
	if f.users.Add(-1) == 0 {
		f.dir.Close()
		f.root.Close()
	}
}

// directory writes the directory c as name; with force, into one that is there. It returns when all in it has
// been given to the goroutines that write it.
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
	var some handful
	err = d.Each(ctx, func(e dag.DirEntry) error {
		if err := checkEntryName(e.Name); err != nil {
			return fmt.Errorf("directory %s: %w", c, err)
		}
		if seen[e.Name] {
			return fmt.Errorf("directory %s: the name %s comes twice", c, quote(e.Name))
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
			some = handful{}
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

// handful is some files and symlinks of one directory: what one goroutine writes before another one is woken.
type handful struct {
	entries []dag.DirEntry
	kinds   []int
	bytes   uint64
}

// A handful is full with either.
const (
	handfulFiles = 16
	handfulBytes = 256 << 10
)

func (b *handful) add(e dag.DirEntry, kind int) (full bool) {
	b.entries = append(b.entries, e)
	b.kinds = append(b.kinds, kind)
	b.bytes += min(e.TSize, handfulBytes) // a claim
	return len(b.entries) == handfulFiles || b.bytes >= handfulBytes
}

// hand gives some to a goroutine, when one is free, or writes them itself where blocks come in order.
func (x *extracting) hand(ctx context.Context, in *folder, some handful) error {
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

func (x *extracting) children(ctx context.Context, in outDir, some handful) error {
	for i, e := range some.entries {
		if err := x.child(ctx, in, e, some.kinds[i]); err != nil {
			return err
		}
	}
	return nil
}

// child writes a file or symlink of a directory; with force, in the place of what is there, if
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

// checkEntryName refuses what is no name of one directory entry.
func checkEntryName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%s cannot be the name of a file", quote(name))
	}
	return nil
}
