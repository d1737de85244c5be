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

// TreeOptions configures AddTree.
type TreeOptions struct {
	Profile Profile
	Hidden  bool // also add names that begin with a dot, below the root
	// FileBlocks, if not nil, returns the set that gets the blocks of the file name, leaves in file order; it may be
	// called concurrently.
	FileBlocks func(name string) Blocks
	// Progress is called as files are read; calls do not overlap. It may be nil.
	Progress func(Progress)
}

// Progress is the progress of AddTree.
type Progress struct {
	Bytes int64  // bytes of files read
	Files int64  // finished files and symlinks
	Path  string // last path read
}

// ChangedError means that a file changed while it was read, so the bytes read may be neither its old nor its new
// content.
type ChangedError struct{ Path string }

func (e *ChangedError) Error() string { return fmt.Sprintf("%s changed while it was read", e.Path) }

// AddTree adds the file, directory tree or symlink name in fsys. Symlinks are added as such and not followed;
// sockets, pipes and devices are errors, and so is a file that changes while it is read, a *ChangedError. Every error
// names the path. Several files are read concurrently; the result does not depend on it.
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
		cancel(err) // stop reading the remaining files
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

// treeAdder walks a tree in one goroutine and passes its files to others.
type treeAdder struct {
	bs   Blocks
	fsys fs.FS
	o    TreeOptions

	files chan treeFile // files to be added

	large sync.Mutex // held while adding a file of more than one chunk

	mu   sync.Mutex // guards done and the calls of o.Progress
	done Progress
}

// treeDir is an incomplete directory: adding its last entry completes it.
type treeDir struct {
	parent  *treeDir // nil for the holder of the added entry, which is not a directory
	slot    int      // index of its entry in parent
	path    string
	names   []string
	entries []Entry
	pending atomic.Int64 // number of missing entries
}

// treeFile is a file that will become entry slot of d.
type treeFile struct {
	d    *treeDir
	slot int
	name string
}

// work adds files from the channel.
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
	return fmt.Errorf("add %s: cannot add %s: only files, directories and symlinks are supported", name, fileTypeName(typ))
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
	keys := make(map[uint64]string, len(list)) // detects conflicts before files are read; DirWriter would only report them at the end
	for _, e := range list {
		if !utf8.ValidString(e.Name()) { // not valid in a path of an fs.FS
			return fmt.Errorf("add %s: name %q is not UTF-8", name, e.Name())
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

// set stores entry e at its place in d. If it was the last one, set stores d and the directories above that it
// completes.
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
		return Entry{}, fmt.Errorf("file system does not support symlinks")
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
	if !before.Mode().IsRegular() { // it changed since its directory was read
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

// progressReader reports the bytes that are read through it.
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
