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

// Other files in the folder of an index, next to the Reference.
const (
	nodesDir  = "nodes"
	rootsFile = "roots.json"
)

// openAttachment opens an existing index if the attributes of the attached files are unchanged; otherwise it returns
// nil.
func (s *Store) openAttachment(kind, path string) *attachment {
	b, err := os.ReadFile(filepath.Join(s.attachedPath(kind, path), rootsFile))
	var k attachmentEntry
	if err != nil || json.Unmarshal(b, &k) != nil || k.Kind != kind || k.Path != path {
		return nil
	}
	if kind == AttachDir {
		if look, err := folderFingerprint(path); err != nil || look != k.Fingerprint {
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

// folderFingerprint returns a fingerprint of a folder: the names, types, sizes, times and inodes of all files below it that are
// not hidden.
func folderFingerprint(dir string) (string, error) {
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
		if d.IsDir() { // without its time, which also changes with hidden entries
			fmt.Fprintf(h, "%q dir\n", path)
			return nil
		}
		fmt.Fprintf(h, "%q %v %s\n", path, info.Mode().Type(), segment.Fingerprint(info))
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// newIndex is the suffix of an index folder that is not complete.
const newIndex = ".new"

// indexAttachment reads everything at path and builds its index next to the one in use.
func (s *Store) indexAttachment(ctx context.Context, kind, path string) (attachmentEntry, error) {
	dir := s.attachedPath(kind, path) + newIndex
	if err := makeFolder(filepath.Dir(dir)); err != nil {
		return attachmentEntry{}, err
	}
	if err := removeAll(dir); err != nil {
		return attachmentEntry{}, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return attachmentEntry{}, err
	}
	k := attachmentEntry{Kind: kind, Path: path}
	err := k.index(ctx, dir)
	if err != nil {
		return attachmentEntry{}, errors.Join(err, removeAll(dir))
	}
	return k, nil
}

// index builds the index of k in dir, an empty folder.
func (k *attachmentEntry) index(ctx context.Context, dir string) (err error) {
	var rec segment.Recorder
	if k.Kind == AttachCAR {
		k.Roots, k.Bytes, err = indexCAR(ctx, &rec, k.Path)
	} else {
		if k.Fingerprint, err = folderFingerprint(k.Path); err != nil { // before reading: later changes then alter the fingerprint
			return err
		}
		err = k.indexDir(ctx, &rec, k.Path, filepath.Join(dir, nodesDir))
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

// renewAttachment replaces the old index, if any, with the new one, and opens it.
func (s *Store) renewAttachment(k attachmentEntry) (*attachment, error) {
	dir := s.attachedPath(k.Kind, k.Path)
	s.attachments.mu.Lock() // no reader uses the old index now
	defer s.attachments.mu.Unlock()
	if i := s.attachments.index(k.Kind, k.Path); i >= 0 {
		s.attachments.list[i].close()
		s.attachments.list[i].ref, s.attachments.list[i].nodes = nil, nil
	}
	if err := removeAll(dir); err != nil {
		return nil, err
	}
	if err := os.Rename(dir+newIndex, dir); err != nil {
		return nil, err
	}
	return s.reopenAttachment(k)
}

// reopenAttachment opens the index of k as it is. Blocks of files that have changed since are hashed when they are
// read.
func (s *Store) reopenAttachment(k attachmentEntry) (*attachment, error) {
	dir := s.attachedPath(k.Kind, k.Path)
	ref, err := segment.OpenReference(dir)
	if err != nil {
		return nil, err
	}
	a := &attachment{Attachment: Attachment{Kind: k.Kind, Path: k.Path, Roots: k.Roots, Blocks: ref.Blocks() + k.Nodes, Bytes: k.Bytes}, index: dir, ref: ref, ownNodes: k.Nodes}
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
	if car := (*dag.CARError)(nil); errors.As(err, &car) && car.Offset == 0 {
		return nil, 0, fmt.Errorf("neither a folder nor a CAR file: %w", err)
	}
	if err != nil {
		return nil, 0, err
	}
	if after, err := segment.Stat(path); err != nil || after != before {
		return nil, 0, &dag.ChangedError{Path: path}
	}
	return roots, sum.Load(), nil
}

// indexDir builds the DAG of a folder. Leaves are indexed at their place in the files; only the nodes that link to
// them are stored, in a segment store of their own.
func (k *attachmentEntry) indexDir(ctx context.Context, rec *segment.Recorder, path, nodesPath string) error {
	if err := os.Mkdir(nodesPath, 0o700); err != nil {
		return err
	}
	nodes, err := segment.Open(nodesPath, segment.Config{})
	if err != nil {
		return err
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
	if err == nil {
		err = nodes.Each(ctx, func(segment.Entry) error {
			k.Nodes++
			return nil
		})
	}
	if e := nodes.Close(); err == nil {
		err = e
	}
	k.Roots, k.Bytes = []cid.Cid{entry.CID}, in.bytes
	return err
}

// dirIndex receives the blocks of a folder that is being indexed.
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

// nodeSink receives the blocks that are not contained in a file.
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

// fileSink receives the blocks of one file, the leaves in order.
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
