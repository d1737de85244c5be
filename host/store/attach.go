package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/segment"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Kinds of what can be attached.
const (
	AttachCAR = "car" // a CAR of version 1 or 2
	AttachDir = "dir" // a folder, as add would take it in: its blocks have the profile unixfs-v1-2025
)

// Attachment is data outside of the repo that is read in place: its blocks count as here, nothing of
// it is copied, and nothing is written to it.
type Attachment struct {
	Kind   string    // AttachCAR or AttachDir
	Path   string    // absolute
	Roots  []cid.Cid // of the CAR, or of the folder
	Blocks int64
	Bytes  int64 // of the blocks
	Kept   bool  // for every process, until Detach; else for this one
}

// attachment is one that is open.
type attachment struct {
	Attachment
	ref   *segment.Reference
	nodes *segment.Store // of a folder: what is in none of its files; nil for a CAR
}

// attachments are searched in order, after all that is in the repo.
type attachments struct {
	mu   sync.RWMutex
	list []*attachment
}

// attachedFile lists those that are kept, as JSON; attachedDir has a folder with an index for each.
const (
	attachedFile = "attached.json"
	attachedTemp = "attached.json.tmp"
	attachedDir  = "attached"
)

// kept is a line of attachedFile.
type kept struct {
	Kind  string    `json:"kind"`
	Path  string    `json:"path"`
	Roots []cid.Cid `json:"roots"`
	Bytes int64     `json:"bytes"`
	Look  string    `json:"look,omitempty"` // of a folder, when it was read: see lookOf
}

var errAttachKind = errors.New("what is attached is a car or a dir")

// Attach has the blocks of a CAR or a folder read in place, from now on; with keep by every process that
// opens the repo, until Detach. It reads and hashes all of it, once: what is attached again and looks as
// it did is not read again. A block that does not hash to its name is an error.
func (s *Store) Attach(ctx context.Context, kind, path string, keep bool) (Attachment, error) {
	if kind != AttachCAR && kind != AttachDir {
		return Attachment{}, fmt.Errorf("attach %s: %q: %w", path, kind, errAttachKind)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return Attachment{}, fmt.Errorf("attach: %w", err)
	}
	if err := s.enterToWrite(ctx); err != nil {
		return Attachment{}, err
	}
	defer s.leave()
	s.outside.mu.Lock()
	defer s.outside.mu.Unlock()
	a := s.openAttachment(kind, path)
	if a == nil {
		if a, err = s.indexAttachment(ctx, kind, path); err != nil {
			return Attachment{}, fmt.Errorf("attach %s: %w", path, err)
		}
	}
	s.coverage.forget()
	a.Kept = keep
	if i := s.outside.index(kind, path); i >= 0 { // in its place
		a.Kept = keep || s.outside.list[i].Kept
		s.outside.list[i].close()
		s.outside.list[i] = a
	} else {
		s.outside.list = append(s.outside.list, a)
	}
	if a.Kept {
		if err := s.writeAttached(); err != nil {
			return Attachment{}, fmt.Errorf("attach %s: %w", path, err)
		}
	}
	return a.Attachment, nil
}

// Detach forgets an attachment of that path, and its index; found is false when there is none.
func (s *Store) Detach(ctx context.Context, path string) (found bool, err error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return false, fmt.Errorf("detach: %w", err)
	}
	if real, err := filepath.EvalSymlinks(full); err == nil {
		full = real
	}
	if err := s.enterToWrite(ctx); err != nil {
		return false, err
	}
	defer s.leave()
	s.outside.mu.Lock()
	defer s.outside.mu.Unlock()
	for _, kind := range []string{AttachCAR, AttachDir} {
		if !s.outside.drop(kind, full) {
			continue
		}
		found = true
		if err := s.writeAttached(); err != nil {
			return true, fmt.Errorf("detach %s: %w", path, err)
		}
		if err := removeAll(s.attachedPath(kind, full)); err != nil {
			return true, fmt.Errorf("detach %s: %w", path, err)
		}
	}
	if found {
		s.coverage.forget()
	}
	return found, nil
}

// Attached returns what is attached, in the order in which it is searched.
func (s *Store) Attached() []Attachment {
	s.outside.mu.RLock()
	defer s.outside.mu.RUnlock()
	all := make([]Attachment, len(s.outside.list))
	for i, a := range s.outside.list {
		all[i] = a.Attachment
	}
	return all
}

// attachedPath is the folder of an attachment's index.
func (s *Store) attachedPath(kind, path string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + path))
	return filepath.Join(s.dir, attachedDir, hex.EncodeToString(sum[:16]))
}

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

// lookOf sums up what a folder looks like from outside: the names, kinds, sizes and times of all that is
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
		fmt.Fprintf(h, "%q %v %d %d\n", path, info.Mode().Type(), info.Size(), info.ModTime().UnixNano())
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// indexAttachment reads all that is at path and makes its index.
func (s *Store) indexAttachment(ctx context.Context, kind, path string) (*attachment, error) {
	dir := s.attachedPath(kind, path)
	if err := makeFolder(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	if err := removeAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	var rec segment.Recorder
	k := kept{Kind: kind, Path: path}
	var err error
	if kind == AttachDir {
		if k.Look, err = lookOf(path); err != nil { // before it is read: what changes meanwhile shows
			return nil, err
		}
	}
	if kind == AttachCAR {
		k.Roots, k.Bytes, err = indexCAR(ctx, &rec, path)
	} else {
		k.Roots, k.Bytes, err = indexDir(ctx, &rec, path, filepath.Join(dir, nodesDir))
	}
	if err != nil {
		return nil, errors.Join(err, removeAll(dir))
	}
	line, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, rootsFile), line); err != nil {
		return nil, err
	}
	if err := rec.Write(dir); err != nil {
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
	a := &attachment{Attachment: Attachment{Kind: k.Kind, Path: k.Path, Roots: k.Roots, Blocks: ref.Blocks(), Bytes: k.Bytes}, ref: ref}
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
	roots, err = dag.IndexCAR(ctx, f, func(b dag.Block, at int64) error {
		bytes += int64(len(b.Data()))
		return rec.Add(b.CID().Hash(), b.Data(), number, at)
	})
	if err != nil {
		return nil, 0, err
	}
	if after, err := segment.Stat(path); err != nil || after != before {
		return nil, 0, &dag.ChangedError{Path: path}
	}
	return roots, bytes, nil
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

// loadAttached opens what is kept. What cannot be opened stays in the list, without its blocks.
func (s *Store) loadAttached() error {
	b, err := os.ReadFile(filepath.Join(s.dir, attachedFile))
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var list []kept
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return &PinError{File: filepath.Join(s.dir, attachedFile), Why: err.Error()}
	}
	for _, k := range list {
		a, err := s.reopenAttachment(k)
		if err != nil {
			a = &attachment{Attachment: Attachment{Kind: k.Kind, Path: k.Path, Roots: k.Roots}}
		}
		a.Kept = true
		s.outside.list = append(s.outside.list, a)
	}
	return nil
}

// writeAttached writes what is kept. s.outside.mu is held.
func (s *Store) writeAttached() error {
	list := []kept{}
	for _, a := range s.outside.list {
		if a.Kept {
			list = append(list, kept{Kind: a.Kind, Path: a.Path, Roots: a.Roots, Bytes: a.Bytes})
		}
	}
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(s.dir, attachedFile), filepath.Join(s.dir, attachedTemp), append(b, '\n'))
}

// index returns where an attachment stands, or -1. mu is held.
func (o *attachments) index(kind, path string) int {
	return slices.IndexFunc(o.list, func(a *attachment) bool { return a.Kind == kind && a.Path == path })
}

// drop closes and takes out an attachment. mu is held.
func (o *attachments) drop(kind, path string) (found bool) {
	o.list = slices.DeleteFunc(o.list, func(a *attachment) bool {
		if a.Kind != kind || a.Path != path {
			return false
		}
		a.close()
		found = true
		return true
	})
	return found
}

func (o *attachments) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range o.list {
		a.close()
	}
	o.list = nil
}

func (a *attachment) close() {
	if a.ref != nil {
		a.ref.Close()
	}
	if a.nodes != nil {
		a.nodes.Close()
	}
}

// find calls fn with each attachment until one has the key, sound.
func (o *attachments) find(fn func(*attachment) error) error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	found := errAbsent
	for _, a := range o.list {
		if a.ref == nil {
			continue
		}
		switch err := (segments{}).explain(fn(a)); {
		case err == nil:
			return nil
		case !errors.Is(err, errAbsent):
			found = err
		}
	}
	return found
}

func (o *attachments) get(key multihash.Multihash) (b []byte, err error) {
	err = o.find(func(a *attachment) (err error) {
		if a.nodes != nil {
			if b, err = a.nodes.Get(key); !errors.Is(err, segment.ErrAbsent) {
				return err
			}
		}
		b, err = a.ref.Get(key)
		return err
	})
	return b, err
}

func (o *attachments) readPart(key multihash.Multihash, p []byte, off int64) (n int, size int64, err error) {
	err = o.find(func(a *attachment) (err error) {
		if a.nodes != nil {
			if n, size, err = a.nodes.ReadPart(key, p, off); !errors.Is(err, segment.ErrAbsent) {
				return err
			}
		}
		n, size, err = a.ref.ReadPart(key, p, off)
		return err
	})
	return n, size, err
}

func (o *attachments) size(key multihash.Multihash) (n int64, err error) {
	err = o.find(func(a *attachment) (err error) {
		if a.nodes != nil {
			if n, err = a.nodes.Size(key); !errors.Is(err, segment.ErrAbsent) {
				return err
			}
		}
		n, err = a.ref.Size(key)
		return err
	})
	return n, err
}

// where names the file that holds key.
func (o *attachments) where(key multihash.Multihash) (path string) {
	o.find(func(a *attachment) error {
		if _, err := a.ref.Size(key); err != nil {
			return err
		}
		path = a.Path
		return nil
	})
	return path
}
