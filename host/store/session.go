package store

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Session is a stretch of work with the store: an add, an import, a run. Until End no
// collection takes a block that the session has put, got or been told is here, nor
// anything that is below a root it protects.
//
// A writer puts its blocks, calls Sync, adds a pin, and only then ends the session and
// reports the CID. A reader that needs a whole DAG protects its root before it looks
// what of it is here.
//
// Its methods may be called from several goroutines.
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

// Begin starts a session. The caller calls End.
func (s *Store) Begin() *Session {
	n := &Session{store: s, keys: keySet{}}
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	s.held.live[n] = struct{}{}
	return n
}

// Get is [Store.Get] of a block that stays until End.
func (n *Session) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	if err := n.hold(c); err != nil {
		return dag.Block{}, err
	}
	return n.store.Get(ctx, c)
}

// Has is [Store.Has] of a block that, when it is here, stays until End: a writer may
// leave out what it need not put.
func (n *Session) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if err := n.hold(c); err != nil {
		return false, err
	}
	return n.store.Has(ctx, c)
}

// Size is [Store.Size] of a block that, when it is here, stays until End.
func (n *Session) Size(ctx context.Context, c cid.Cid) (int64, error) {
	if err := n.hold(c); err != nil {
		return 0, err
	}
	return n.store.Size(ctx, c)
}

// Put is [Store.Put] of blocks that stay until End.
func (n *Session) Put(ctx context.Context, bs ...dag.Block) error {
	for _, b := range bs {
		if err := n.hold(b.CID()); err != nil {
			return err
		}
	}
	return n.store.Put(ctx, bs...)
}

// Protect keeps roots, and all that is below them and here, until End. It waits while
// a collection is running.
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
	if err := n.store.passGate(ctx); err != nil {
		return err
	}
	defer n.store.openGate()
	n.store.held.mu.Lock()
	defer n.store.held.mu.Unlock()
	if n.ended {
		return ErrClosed
	}
	n.roots = append(n.roots, roots...)
	return nil
}

// End lets go of everything. The second End does nothing.
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
		h.late = append(h.late, n.keys)
	}
	n.keys, n.roots = nil, nil
}

// hold keeps c from collection, before it is looked for or written.
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

// passGate waits for the gate that a collection holds from its first look at the pins
// to its last deletion, and that whoever adds a root holds while adding it.
func (s *Store) passGate(ctx context.Context) error {
	select {
	case s.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Store) openGate() { <-s.gate }
