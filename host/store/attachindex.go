package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store/segment"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// What an index's folder holds beside the Reference.
const (
	nodesDir  = "nodes"
	rootsFile = "roots.json"
)

// openAttachment opens an index that is there, if what it is of looks as it did.
func (s *Store) openAttachment(kind, path string) *attachment {
	b, err := os.ReadFile(filepath.Join(s.attachedPath(kind, path), rootsFile))
	var k kept
	if err != nil || json.Unmarshal(b, &k) != nil || k.Kind != kind || k.Path != path {
		return nil
	}
	if kind == AttachDir {
		if look, err := lookOf(path); err != nil || look != k.Look {
			return nil
		}
	}
	a, err := s.reopenAttachment(k)
	if err != nil {
		return nil
	}
	if kind == AttachCAR && len(a.ref.Changed()) > 0 {
		a.close()
		return nil
	}
	return a
}

// lookOf sums up what a folder looks like from outside: names, kinds, sizes, times and inodes of all that is
// below it and not hidden.
func lookOf(dir string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != dir && d.Name()[0] == '.' {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() { // its time changes with what is hidden in it, too
			fmt.Fprintf(h, "%q dir\n", path)
			return nil
		}
		fmt.Fprintf(h, "%q %v %s\n", path, info.Mode().Type(), segment.Look(info))
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// newIndex is what the folder of an index is called until it is whole.
const newIndex = ".new"

// indexAttachment reads all that is at path and makes its index, beside one that is in use.
func (s *Store) indexAttachment(ctx context.Context, kind, path string) (kept, error) {
	dir := s.attachedPath(kind, path) + newIndex
	if err := makeFolder(filepath.Dir(dir)); err != nil {
		return kept{}, err
	}
	if err := removeAll(dir); err != nil {
		return kept{}, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return kept{}, err
	}
	k := kept{Kind: kind, Path: path}
	err := k.index(ctx, dir)
	if err != nil {
		return kept{}, errors.Join(err, removeAll(dir))
	}
	return k, nil
}

// index makes the index of k in dir, an empty folder.
func (k *kept) index(ctx context.Context, dir string) (err error) {
	var rec segment.Recorder
	if k.Kind == AttachCAR {
		k.Roots, k.Bytes, err = indexCAR(ctx, &rec, k.Path)
	} else {
		if k.Look, err = lookOf(k.Path); err != nil { // before it is read: what changes meanwhile shows
			return err
		}
		k.Roots, k.Bytes, err = indexDir(ctx, &rec, k.Path, filepath.Join(dir, nodesDir))
	}
	if err != nil {
		return err
	}
	line, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, rootsFile), line); err != nil {
		return err
	}
	return rec.Write(dir)
}

// renewAttachment puts a new index in the place of an old one, and opens it.
func (s *Store) renewAttachment(k kept) (*attachment, error) {
	dir := s.attachedPath(k.Kind, k.Path)
	s.outside.mu.Lock() // nobody reads the old one meanwhile
	defer s.outside.mu.Unlock()
	if i := s.outside.index(k.Kind, k.Path); i >= 0 {
		s.outside.list[i].close()
		s.outside.list[i].ref, s.outside.list[i].nodes = nil, nil
	}
	if err := removeAll(dir); err != nil {
		return nil, err
	}
	if err := os.Rename(dir+newIndex, dir); err != nil {
		return nil, err
	}
	return s.reopenAttachment(k)
}

// reopenAttachment opens the index of k as it is: files that have changed since are hashed when they are
// read.
func (s *Store) reopenAttachment(k kept) (*attachment, error) {
	dir := s.attachedPath(k.Kind, k.Path)
	ref, err := segment.OpenReference(dir)
	if err != nil {
		return nil, err
	}
	a := &attachment{Attachment: Attachment{Kind: k.Kind, Path: k.Path, Roots: k.Roots, Blocks: ref.Blocks(), Bytes: k.Bytes}, index: dir, ref: ref}
	if k.Kind == AttachDir {
		if a.nodes, err = segment.Open(filepath.Join(dir, nodesDir), segment.Config{ReadOnly: true}); err != nil {
			a.close()
			return nil, err
		}
	}
	return a, nil
}

func indexCAR(ctx context.Context, rec *segment.Recorder, path string) (roots []cid.Cid, bytes int64, err error) {
	before, err := segment.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	number := rec.File(before)
	var sum atomic.Int64
	roots, err = dag.IndexCAR(ctx, f, func(b dag.Block, at int64) error {
		sum.Add(int64(len(b.Data())))
		return rec.Add(b.CID().Hash(), b.Data(), number, at)
	})
	if err != nil {
		return nil, 0, err
	}
	if after, err := segment.Stat(path); err != nil || after != before {
		return nil, 0, &dag.ChangedError{Path: path}
	}
	return roots, sum.Load(), nil
}

// indexDir makes the DAG of a folder. Leaves are entered where they lie, and only what links to them is
// kept, in a store of its own.
func indexDir(ctx context.Context, rec *segment.Recorder, path, nodesPath string) (roots []cid.Cid, bytes int64, err error) {
	if err := os.Mkdir(nodesPath, 0o700); err != nil {
		return nil, 0, err
	}
	nodes, err := segment.Open(nodesPath, segment.Config{})
	if err != nil {
		return nil, 0, err
	}
	above, name := filepath.Split(path)
	if name == "" {
		above, name = path, "."
	}
	in := &dirIndex{rec: rec, nodes: nodes, above: above}
	options := dag.TreeOptions{Profile: dag.UnixFSv1, FileBlocks: in.file}
	entry, err := dag.AddTree(ctx, &nodeSink{in}, os.DirFS(above), name, options)
	if err == nil {
		err = nodes.Sync()
	}
	if e := nodes.Close(); err == nil {
		err = e
	}
	return []cid.Cid{entry.CID}, in.bytes, err
}

// dirIndex takes the blocks of a folder that is indexed.
type dirIndex struct {
	rec   *segment.Recorder
	nodes *segment.Store
	above string

	mu    sync.Mutex
	bytes int64
}

func (d *dirIndex) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes += int64(n)
}

// nodeSink takes blocks that are in no file.
type nodeSink struct{ d *dirIndex }

func (n *nodeSink) Get(_ context.Context, c cid.Cid) (dag.Block, error) {
	return dag.Block{}, &dag.NotFoundError{CID: c}
}
func (n *nodeSink) Has(context.Context, cid.Cid) (bool, error) { return false, nil }
func (n *nodeSink) PutCopies()                                 {}

func (n *nodeSink) Put(_ context.Context, bs ...dag.Block) error {
	for _, b := range bs {
		if err := n.d.nodes.Put(b.CID().Hash(), b.Data()); err != nil {
			return err
		}
		n.d.count(len(b.Data()))
	}
	return nil
}

// fileSink takes the blocks of one file, leaves in their order.
type fileSink struct {
	nodeSink
	number uint32
	at     int64
	err    error
}

func (d *dirIndex) file(name string) dag.Blocks {
	f := &fileSink{nodeSink: nodeSink{d}}
	now, err := segment.Stat(filepath.Join(d.above, filepath.FromSlash(name)))
	if err != nil {
		f.err = err
		return f
	}
	f.number = d.rec.File(now)
	return f
}

func (f *fileSink) Put(ctx context.Context, bs ...dag.Block) error {
	if f.err != nil {
		return f.err
	}
	for _, b := range bs {
		if b.CID().Type() != cid.Raw {
			if err := f.nodeSink.Put(ctx, b); err != nil {
				return err
			}
			continue
		}
		if err := f.d.rec.Add(b.CID().Hash(), b.Data(), f.number, f.at); err != nil {
			return err
		}
		f.at += int64(len(b.Data()))
		f.d.count(len(b.Data()))
	}
	return nil
}
