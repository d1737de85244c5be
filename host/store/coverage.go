package store

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// coverKey is the prefix of the ledger's keys for complete roots, followed by a CID. The value is the Generation in
// which the root was complete and the total bytes below it, eight bytes each. A complete root stays complete as long
// as nothing is removed.
const coverKey = "c"

// maxCovered is how many incomplete roots are kept up to date in memory.
const maxCovered = 64

// coverage caches what is present below some roots, so that they are not walked again.
type coverage struct {
	partial atomic.Int32 // number of roots and walks: a put has nothing to update while it is 0

	mu     sync.Mutex
	roots  map[cid.Cid]*covered
	epoch  uint64              // increases when the counts become invalid
	arrive map[uint64]struct{} // fingerprints of blocks put during a walk; nil if no walk is running
	walks  int
}

// covered is an incomplete root.
type covered struct {
	have, total uint64
	exact       bool
	missing     map[uint64]uint32 // sizes of leaves, by fingerprint
	closed      map[uint64]bool   // missing blocks with links: what is below them is unknown
	opaque      []cid.Cid         // see Coverage; never changed in place
	gen         uint64
}

func (c *covered) report() Coverage {
	return Coverage{Have: c.have, Total: c.total, Exact: c.exact, Opaque: c.opaque}
}

// Coverage is how much of a DAG is in the repo.
type Coverage struct {
	Have, Total uint64    // bytes of distinct blocks
	Exact       bool      // false: both are lower bounds
	Opaque      []cid.Cid // the first 100 blocks whose links cannot be read
}

// maxOpaque limits the length of Coverage.Opaque.
const maxOpaque = 100

// Coverage returns how many bytes of the distinct blocks below root are present, and how many there are. The result
// is exact unless a missing block has links or an uncertain size, a block's links cannot be read, or ctx ends: then
// both numbers are lower bounds, which is not an error. A complete root is answered from the ledger until a
// collection removes blocks; an incomplete one is walked once and then updated by each put.
func (s *Store) Coverage(ctx context.Context, root cid.Cid) (Coverage, error) {
	if err := s.enter(ctx); err != nil {
		return Coverage{}, err
	}
	defer s.leave()
	gen, err := s.generation()
	if err != nil {
		return Coverage{}, err
	}
	if c, ok := s.coverage.get(root, gen); ok {
		return c.report(), nil
	}
	if n, ok := s.wholeBefore(root, gen); ok {
		return Coverage{Have: n, Total: n, Exact: true}, nil
	}
	epoch := s.coverage.beginWalk()
	w := coverWalk{s: s, covered: &covered{exact: true, gen: gen, missing: map[uint64]uint32{}, closed: map[uint64]bool{}}}
	err = w.walk(ctx, root)
	c := w.covered
	if err != nil && ctx.Err() != nil {
		s.coverage.endWalk(root, nil, epoch)
		c.exact = false
		return c.report(), nil
	}
	if err != nil {
		s.coverage.endWalk(root, nil, epoch)
		return Coverage{}, err
	}
	if len(c.missing) > 0 || len(c.closed) > 0 {
		report := c.report() // before a put changes it
		s.coverage.endWalk(root, c, epoch)
		return report, nil
	}
	s.coverage.endWalk(root, nil, epoch)
	if !w.outside && !s.readOnly && len(c.opaque) == 0 {
		value := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, gen), c.total)
		err = s.noteFull(s.ledger.Write(ledger.Entry{Key: coverKey + root.KeyString(), Value: value}))
		if diskfs.Full(err) {
			err = nil // the root is walked again
		}
	}
	return c.report(), err
}

// wholeBefore reports whether root was complete in generation gen, and its total bytes.
func (s *Store) wholeBefore(root cid.Cid, gen uint64) (total uint64, ok bool) {
	b, err := s.ledger.Get(coverKey + root.KeyString())
	if err != nil || len(b) != 16 || binary.BigEndian.Uint64(b) != gen {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[8:]), true
}

// renewCoverage carries complete roots over to a new generation: roots that the collection walked and retained are
// still complete. It drops the others.
func (s *Store) renewCoverage(ctx context.Context, pins []Pin, from, to uint64) error {
	kept := map[string]bool{}
	for _, p := range pins {
		for _, r := range p.allRoots() {
			kept[r.CID.KeyString()] = kept[r.CID.KeyString()] || r.Recursive
		}
	}
	var changes []ledger.Entry
	err := s.ledger.Each(ctx, coverKey, func(i ledger.Item) error {
		if i.Err != nil {
			return nil // it is counted again on request
		}
		root := i.Key[len(coverKey):]
		total, ok := s.wholeBefore(cidOf(root), from)
		e := ledger.Entry{Key: i.Key, Delete: true}
		if ok && kept[root] {
			e = ledger.Entry{Key: i.Key, Value: binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, to), total)}
		}
		changes = append(changes, e)
		return nil
	})
	if err != nil {
		return err
	}
	return s.ledger.Write(changes...)
}

func cidOf(key string) cid.Cid {
	c, err := cid.Cast([]byte(key))
	if err != nil {
		return cid.Undef
	}
	return c
}

// coverWalk counts the blocks below a root.
type coverWalk struct {
	s       *Store
	outside bool // some blocks are in an attachment, which may change
	*covered
}

func (w *coverWalk) walk(ctx context.Context, root cid.Cid) error {
	todo := []dag.SizedLink{{CID: root}}
	seen := map[cid.Cid]struct{}{}
	for len(todo) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if _, again := seen[l.CID]; again {
			continue
		}
		seen[l.CID] = struct{}{}
		links, err := w.visitOne(l)
		if err != nil {
			return err
		}
		todo = append(todo, links...)
	}
	return nil
}

// visitOne counts a block and returns its links.
func (w *coverWalk) visitOne(l dag.SizedLink) ([]dag.SizedLink, error) {
	if dag.IsIdentity(l.CID) {
		return nil, nil // contained in its parent's bytes
	}
	leaf := dag.IsLeaf(l.CID.Type())
	size, err := w.size(l.CID)
	if errors.Is(err, errAbsent) {
		w.addMissing(l, leaf)
		return nil, nil
	}
	if err != nil {
		return nil, blockError(l.CID, "look up", err)
	}
	w.have += uint64(size)
	w.total += uint64(size)
	if leaf {
		return nil, nil
	}
	b, err := w.s.get(l.CID)
	if err != nil {
		return nil, err
	}
	links, err := dag.SizedLinks(b)
	if err != nil {
		w.exact = false
		if len(w.opaque) < maxOpaque {
			w.opaque = append(w.opaque, l.CID)
		}
		return nil, nil
	}
	return links, nil
}

func (w *coverWalk) size(c cid.Cid) (int64, error) {
	if len(c.Hash()) > maxKey {
		return 0, errAbsent
	}
	n, err := w.s.blocks.Size(c.Hash())
	if errors.Is(err, errAbsent) {
		if n, err = w.s.attachments.size(c.Hash()); err == nil {
			w.outside = true
		}
	}
	return n, err
}

func (w *coverWalk) addMissing(l dag.SizedLink, leaf bool) {
	w.total += l.Size
	w.exact = w.exact && leaf && l.Sure
	if leaf && l.Sure {
		w.missing[fingerprint(l.CID.Hash())] = uint32(l.Size)
		return
	}
	w.closed[fingerprint(l.CID.Hash())] = true
}

// get returns the counts of root in generation gen.
func (c *coverage) get(root cid.Cid, gen uint64) (covered, bool) {
	if c.partial.Load() == 0 {
		return covered{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.roots[root]
	if r == nil || r.gen != gen {
		return covered{}, false
	}
	return *r, true
}

// put records that the block of key is now present.
func (c *coverage) put(key multihash.Multihash) {
	if c.partial.Load() == 0 {
		return
	}
	f := fingerprint(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.arrive != nil {
		c.arrive[f] = struct{}{}
	}
	for root, r := range c.roots {
		if !r.update(f) {
			c.remove(root)
		}
	}
}

// update counts a block that was put. It returns false if r must be walked again: the block has links, or nothing is
// missing any more.
func (r *covered) update(f uint64) bool {
	if r.closed[f] {
		return false
	}
	if size, ok := r.missing[f]; ok {
		delete(r.missing, f)
		r.have += uint64(size)
	}
	return len(r.missing)+len(r.closed) > 0
}

// beginWalk records the blocks put until endWalk.
func (c *coverage) beginWalk() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.walks++
	c.partial.Add(1)
	if c.arrive == nil {
		c.arrive = map[uint64]struct{}{}
	}
	return c.epoch
}

// endWalk stores r, which may be nil, updated with the blocks put during its walk.
func (c *coverage) endWalk(root cid.Cid, r *covered, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.walks--
	c.partial.Add(-1)
	for f := range c.arrive {
		if r != nil && !r.update(f) {
			r = nil
		}
	}
	if c.walks == 0 {
		c.arrive = nil
	}
	if r == nil || epoch != c.epoch {
		return
	}
	if c.roots == nil {
		c.roots = map[cid.Cid]*covered{}
	}
	c.remove(root)
	for old := range c.roots {
		if len(c.roots) < maxCovered {
			break
		}
		c.remove(old)
	}
	c.roots[root] = r
	c.partial.Add(1)
}

// remove drops root. c.mu is held.
func (c *coverage) remove(root cid.Cid) {
	if c.roots[root] != nil {
		delete(c.roots, root)
		c.partial.Add(-1)
	}
}

// forget drops all incomplete roots.
func (c *coverage) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	for root := range c.roots {
		c.remove(root)
	}
}
