package dag

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// TreeOptions says how AddTree goes about it.
type TreeOptions struct {
	Profile Profile
	Hidden  bool // also what has a name that begins with a dot, below the root
	// FileBlocks, if not nil, returns the set that takes the blocks of the file name, leaves in the order
	// of the file; it may be called from several goroutines.
	FileBlocks func(name string) Blocks
	// Progress is told as files are read; calls do not overlap. It may be nil.
	Progress func(Progress)
}

// Progress is how far AddTree has come.
type Progress struct {
	Bytes int64  // bytes of files read
	Files int64  // files and symlinks done
	Path  string // what was read last
}

// ChangedError says that a file changed while it was read, so that what was read may
// be neither its old bytes nor its new ones.
type ChangedError struct{ Path string }

func (e *ChangedError) Error() string { return fmt.Sprintf("%s changed while it was read", e.Path) }

// AddTree adds the file, the directory with all below it, or the symlink that name is
// in fsys. Symlinks are added as such and not followed; sockets, pipes and devices are
// errors, and so is a file that changes meanwhile, a *ChangedError. Every error names
// the path. Files are read several at a time; the result does not depend on it.
func AddTree(ctx context.Context, bs Blocks, fsys fs.FS, name string, o TreeOptions) (Entry, error) {
	info, err := lstat(fsys, name)
	if err != nil {
		return Entry{}, fmt.Errorf("add %s: %w", name, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g, ctx := errgroup.WithContext(ctx)
	a := &treeAdder{bs: bs, fsys: fsys, o: o, files: make(chan treeFile, 64)}
	for range 2 * runtime.GOMAXPROCS(0) {
		g.Go(func() error { return a.work(ctx) })
	}
	top := &treeDir{entries: make([]Entry, 1)}
	if err = a.add(ctx, top, 0, name, info.Mode().Type(), 0); err != nil {
		cancel(err) // no need to read the files that are under way
	}
	close(a.files)
	if gerr := g.Wait(); err == nil {
		err = gerr
	}
	if err != nil {
		return Entry{}, err
	}
	return top.entries[0], nil
}

// treeAdder walks a tree in one goroutine and hands its files to others.
type treeAdder struct {
	bs   Blocks
	fsys fs.FS
	o    TreeOptions

	files chan treeFile // that are to be added

	large sync.Mutex // held while a file of more than a chunk is added

	mu   sync.Mutex // guards done and the calls of o.Progress
	done Progress
}

// treeDir is a directory that is not finished: whoever adds its last entry makes it.
type treeDir struct {
	parent  *treeDir // nil for the one that holds what is added, which is never made
	slot    int      // its place in parent
	path    string
	names   []string
	entries []Entry
	pending atomic.Int64 // entries still to come
}

// treeFile is a file that is to be entry slot of d.
type treeFile struct {
	d    *treeDir
	slot int
	name string
}

// work adds files as they come.
func (a *treeAdder) work(ctx context.Context) error {
	var memory []byte
	for f := range a.files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e, err := a.file(ctx, f.name, &memory)
		if err != nil {
			return fmt.Errorf("add %s: %w", f.name, err)
		}
		if err := a.set(ctx, f.d, f.slot, e); err != nil {
			return err
		}
	}
	return nil
}

func (a *treeAdder) add(ctx context.Context, d *treeDir, slot int, name string, typ fs.FileMode, depth int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch typ {
	case 0:
		select {
		case a.files <- treeFile{d, slot, name}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case fs.ModeSymlink:
		e, err := a.symlink(ctx, name)
		if err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
		return a.set(ctx, d, slot, e)
	case fs.ModeDir:
		return a.dir(ctx, d, slot, name, depth)
	}
	return fmt.Errorf("add %s: it is %s, and only files, directories and symlinks can be added", name, fileTypeName(typ))
}

func fileTypeName(typ fs.FileMode) string {
	switch {
	case typ&fs.ModeSocket != 0:
		return "a socket"
	case typ&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case typ&fs.ModeDevice != 0:
		return "a device"
	}
	return "a special file"
}

func (a *treeAdder) dir(ctx context.Context, parent *treeDir, slot int, name string, depth int) error {
	if depth >= abi.MaxSegments {
		return fmt.Errorf("add %s: directories nested deeper than %d levels", name, abi.MaxSegments)
	}
	list, err := fs.ReadDir(a.fsys, name)
	if err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	d := &treeDir{parent: parent, slot: slot, path: name}
	types := make([]fs.FileMode, 0, len(list))
	keys := make(map[uint64]string, len(list)) // before a file is read: DirWriter would say it when all are
	for _, e := range list {
		if !utf8.ValidString(e.Name()) { // a path in an fs.FS cannot hold it
			return fmt.Errorf("add %s: the name %q in it is not UTF-8", name, e.Name())
		}
		if a.o.Hidden || !strings.HasPrefix(e.Name(), ".") {
			key := a.o.Profile.NameKey(e.Name())
			if other, ok := keys[key]; ok {
				return fmt.Errorf("add %s: %w", name, nameConflict(other, e.Name()))
			}
			keys[key] = e.Name()
			d.names = append(d.names, e.Name())
			types = append(types, e.Type())
		}
	}
	d.entries = make([]Entry, len(d.names))
	if len(d.names) == 0 {
		return a.finish(ctx, d)
	}
	d.pending.Store(int64(len(d.names)))
	for i, base := range d.names {
		if err := a.add(ctx, d, i, path.Join(name, base), types[i], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// set puts entry e into its place in d and, if it was the last, makes d and what that
// completes above it.
func (a *treeAdder) set(ctx context.Context, d *treeDir, slot int, e Entry) error {
	d.entries[slot] = e
	if d.parent == nil || d.pending.Add(-1) > 0 {
		return nil
	}
	return a.finish(ctx, d)
}

func (a *treeAdder) finish(ctx context.Context, d *treeDir) error {
	w := NewDirWriter(a.bs, a.o.Profile)
	for i, name := range d.names {
		if err := w.Add(name, d.entries[i]); err != nil {
			return fmt.Errorf("add %s: %w", d.path, err)
		}
	}
	e, err := w.Finish(ctx)
	if err != nil {
		return fmt.Errorf("add %s: %w", d.path, err)
	}
	return a.set(ctx, d.parent, d.slot, e)
}

func (a *treeAdder) symlink(ctx context.Context, name string) (Entry, error) {
	links, ok := a.fsys.(fs.ReadLinkFS)
	if !ok {
		return Entry{}, fmt.Errorf("symlinks cannot be read here")
	}
	target, err := links.ReadLink(name)
	if err != nil {
		return Entry{}, err
	}
	e, err := AddSymlink(ctx, a.bs, target, a.o.Profile)
	if err == nil {
		a.progress(name, 0, 1)
	}
	return e, err
}

func (a *treeAdder) file(ctx context.Context, name string, memory *[]byte) (Entry, error) {
	before, err := lstat(a.fsys, name)
	if err != nil {
		return Entry{}, err
	}
	if !before.Mode().IsRegular() { // since its directory was read
		return Entry{}, &ChangedError{name}
	}
	f, err := a.fsys.Open(name)
	if err != nil {
		return Entry{}, err
	}
	defer f.Close()
	bs, anyOrder := a.bs, copiesOnPut(a.bs)
	if a.o.FileBlocks != nil {
		bs, anyOrder = a.o.FileBlocks(name), false
	}
	e, err := addFile(ctx, bs, progressReader{f, a, name}, a.o.Profile, &a.large, anyOrder, memory)
	if err != nil {
		return Entry{}, err
	}
	after, err := f.Stat()
	if err != nil {
		return Entry{}, err
	}
	if !after.Mode().IsRegular() || after.Size() != before.Size() || int64(e.Size) != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return Entry{}, &ChangedError{name}
	}
	a.progress(name, 0, 1)
	return e, nil
}

func lstat(fsys fs.FS, name string) (fs.FileInfo, error) {
	if links, ok := fsys.(fs.ReadLinkFS); ok {
		return links.Lstat(name)
	}
	return fs.Stat(fsys, name)
}

func (a *treeAdder) progress(name string, bytes, files int64) {
	if a.o.Progress == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done.Bytes += bytes
	a.done.Files += files
	a.done.Path = name
	a.o.Progress(a.done)
}

// progressReader reports what is read through it.
type progressReader struct {
	r    io.Reader
	a    *treeAdder
	name string
}

func (p progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 {
		p.a.progress(p.name, int64(n), 0)
	}
	return n, err
}
