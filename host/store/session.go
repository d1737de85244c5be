package store

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Session is a unit of work with the store: an add, an import, a run. Until End, no collection removes a block that
// the session has put, read or found present, or a block below a root that it protects.
//
// A writer puts its blocks, calls Sync, adds a pin, and only then ends the session and reports the CID. A reader that
// needs a whole DAG protects its root before it checks which blocks are present.
//
// Its methods may be called concurrently.
type Session struct {
	store *Store

	// Guarded by store.held.mu.
	keys  keySet
	roots []cid.Cid
	ended bool
}

var (
	_ dag.Blocks = (*Session)(nil)
	_ dag.Sizer  = (*Session)(nil)
)

// Begin starts a session. The caller must call End.
func (s *Store) Begin() *Session {
	n := &Session{store: s, keys: keySet{}}
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	s.held.live[n] = struct{}{}
	return n
}

// Get is [Store.Get]; the block is retained until End.
func (n *Session) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	if err := n.hold(c); err != nil {
		return dag.Block{}, err
	}
	return n.store.Get(ctx, c)
}

// Has is [Store.Has]; a block that is present is retained until End, so a writer need not put it.
func (n *Session) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if err := n.hold(c); err != nil {
		return false, err
	}
	return n.store.Has(ctx, c)
}

// Size is [Store.Size]; a block that is present is retained until End.
func (n *Session) Size(ctx context.Context, c cid.Cid) (int64, error) {
	if err := n.hold(c); err != nil {
		return 0, err
	}
	return n.store.Size(ctx, c)
}

// Put is [Store.Put]; the blocks are retained until End.
func (n *Session) Put(ctx context.Context, bs ...dag.Block) error {
	for _, b := range bs {
		if err := n.hold(b.CID()); err != nil {
			return err
		}
	}
	return n.store.Put(ctx, bs...)
}

// Protect retains roots, and all present blocks below them, until End. It waits while a collection is running.
func (n *Session) Protect(ctx context.Context, roots ...cid.Cid) error {
	for _, c := range roots {
		if !c.Defined() {
			return errUndefined
		}
	}
	if err := n.store.enter(ctx); err != nil {
		return err
	}
	defer n.store.leave()
	if err := n.store.lockGC(ctx); err != nil {
		return err
	}
	defer n.store.unlockGC()
	n.store.held.mu.Lock()
	defer n.store.held.mu.Unlock()
	if n.ended {
		return ErrClosed
	}
	n.roots = append(n.roots, roots...)
	return nil
}

// End releases all blocks and roots of the session. Later calls have no effect.
func (n *Session) End() {
	h := &n.store.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if n.ended {
		return
	}
	n.ended = true
	delete(h.live, n)
	if h.collecting {
		h.ended = append(h.ended, n.keys)
	}
	n.keys, n.roots = nil, nil
}

// hold protects c from collection. It is called before c is looked up or written.
func (n *Session) hold(c cid.Cid) error {
	if !c.Defined() {
		return errUndefined
	}
	n.store.held.mu.Lock()
	defer n.store.held.mu.Unlock()
	if n.ended {
		return ErrClosed
	}
	n.keys.add(c.Hash())
	return nil
}

// lockGC waits for the GC lock. A collection holds it from reading the pins to its last deletion, and every caller
// that adds a root holds it while adding.
func (s *Store) lockGC(ctx context.Context) error {
	select {
	case s.gcLock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Store) unlockGC() { <-s.gcLock }
