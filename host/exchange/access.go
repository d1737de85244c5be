package exchange

import (
	"bytes"
	"context"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// AccessConfig has the inputs of an Access.
type AccessConfig struct {
	Blocks    dag.Blocks // local blocks, in which the blocks below a root are found
	Published *Published // nil: nothing is published
	// Allows reports a peer's rights. [host.ReceiveBlocks] is the right to all local blocks except unpublished Tasks,
	// Outcomes, Receipts and orders; [host.ReceivePublished] to published blocks; [host.BeAsked] to see the CIDs that
	// this node requests. nil: no peer has a right.
	Allows func(peer.ID, host.Action) bool
}

// Access decides which blocks a peer may have. Its methods may be called concurrently.
type Access struct {
	cfg AccessConfig

	mu     sync.Mutex
	grants map[peer.ID][]*grant
}

// grant is the blocks that a peer may have because it runs a job.
type grant struct{ below *reach }

// NewAccess returns an Access with the given rules.
func NewAccess(cfg AccessConfig) *Access {
	return &Access{cfg: cfg, grants: map[peer.ID][]*grant{}}
}

// allows reports whether p has the right to action. A nil Access allows nothing.
func (a *Access) allows(p peer.ID, action host.Action) bool {
	return a != nil && a.cfg.Allows != nil && a.cfg.Allows(p, action)
}

// verdict is a decision on a block by its CID alone.
type verdict int

const (
	denied        verdict = iota
	unlessPrivate         // allowed if its bytes are not private
	allowed
)

// Allowed reports whether p may have the block named c, whether it is here or not.
func (a *Access) Allowed(ctx context.Context, p peer.ID, c cid.Cid) bool {
	switch a.decide(ctx, p, c) {
	case allowed:
		return true
	case unlessPrivate:
		may, err := a.storedAllowed(ctx, c)
		return err == nil && may
	}
	return false
}

// storedAllowed is contentAllowed for a block whose bytes are not loaded: its first bytes are mostly enough. The
// error is a *dag.NotFoundError when the block is not here.
func (a *Access) storedAllowed(ctx context.Context, c cid.Cid) (bool, error) {
	var head [3]byte
	n, _, err := dag.ReadPart(ctx, a.cfg.Blocks, c, head[:], 0)
	if err != nil || !mayBePrivate(head[:n]) {
		return err == nil, err
	}
	b, err := a.cfg.Blocks.Get(ctx, c)
	return err == nil && a.contentAllowed(ctx, b), err
}

// contentAllowed decides unlessPrivate, by the bytes.
func (a *Access) contentAllowed(ctx context.Context, b dag.Block) bool {
	return !private(b.Data()) || a.cfg.Published.reaches(ctx, a.cfg.Blocks, b.CID())
}

func (a *Access) decide(ctx context.Context, p peer.ID, c cid.Cid) verdict {
	if a == nil {
		return denied
	}
	switch {
	case a.allows(p, host.ReceiveBlocks):
		return unlessPrivate
	case a.allows(p, host.ReceivePublished) && a.cfg.Published.reaches(ctx, a.cfg.Blocks, c):
		return allowed
	case a.granted(ctx, p, c):
		return allowed
	}
	return denied
}

// Grant lets p have the blocks below roots until revoke is called: the module and the inputs of a job that p runs.
func (a *Access) Grant(p peer.ID, roots ...cid.Cid) (revoke func()) {
	g := &grant{newReach(maxGranted, roots...)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.grants[p] = append(a.grants[p], g)
	return func() { a.revoke(p, g) }
}

func (a *Access) revoke(p peer.ID, g *grant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var rest []*grant
	for _, o := range a.grants[p] {
		if o != g {
			rest = append(rest, o)
		}
	}
	if len(rest) == 0 {
		delete(a.grants, p)
		return
	}
	a.grants[p] = rest
}

func (a *Access) granted(ctx context.Context, p peer.ID, c cid.Cid) bool {
	a.mu.Lock()
	list := a.grants[p] // never changed in place
	a.mu.Unlock()
	for _, g := range list {
		if g.below.has(ctx, a.cfg.Blocks, c) {
			return true
		}
	}
	return false
}

// private reports whether no peer gets b unless it is published: a Task, which holds a user's arguments, an Outcome,
// a Receipt or an order. It decides by the bytes, because a store finds them under any codec.
func private(b []byte) bool {
	switch {
	case bytes.HasPrefix(b, taskHead):
		_, err := job.DecodeTask(b)
		return err == nil
	case bytes.HasPrefix(b, outcomeHead):
		_, err := job.DecodeOutcome(b)
		return err == nil
	case bytes.HasPrefix(b, envelopeHead):
		_, notReceipt := job.DecodeReceipt(b)
		_, notJob := job.DecodeOrder(b)
		return notReceipt == nil || notJob == nil
	}
	return false
}

// The first canonical bytes of each, so that other blocks are not decoded.
var (
	taskHead     = []byte{0xa0 | 11}        // a map of its fields
	outcomeHead  = []byte{0xa0 | 13}        // the same
	envelopeHead = []byte{0x82, 0x58, 0x40} // a list of two, the first a signature
)

func mayBePrivate(head []byte) bool {
	return bytes.HasPrefix(head, taskHead) || bytes.HasPrefix(head, outcomeHead) || bytes.HasPrefix(head, envelopeHead)
}
