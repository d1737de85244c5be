package node

import (
	"context"
	"errors"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// attached begins a session of a process that is served by the owner.
func attached(c *api.Client) *Session {
	return newSession(c, remoteBlocks{c}, func(context.Context) error { return c.Close() })
}

// remoteBlocks is the owner's blocks as a block set. Data from the socket is hashed: a Block is only made from
// checked data.
type remoteBlocks struct{ data api.Data }

var _ dag.Blocks = remoteBlocks{}

func (r remoteBlocks) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	b, err := r.data.Get(ctx, c)
	var e *api.Error
	switch {
	case errors.As(err, &e) && e.Code == api.CodeMissing:
		return dag.Block{}, &dag.NotFoundError{CID: c}
	case errors.As(err, &e) && e.Damaged:
		return dag.Block{}, &remoteDamage{e, &dag.DamagedError{CID: c}}
	case err != nil:
		return dag.Block{}, err
	}
	return dag.CheckBlock(c, b)
}

// remoteDamage is the error for a damaged block of the owner: its API error, with the hint, and the error that
// block sets return.
type remoteDamage struct {
	apiErr  *api.Error
	damaged *dag.DamagedError
}

func (d *remoteDamage) Error() string   { return d.apiErr.Message }
func (d *remoteDamage) Unwrap() []error { return []error{d.apiErr, d.damaged} }

func (r remoteBlocks) Has(ctx context.Context, c cid.Cid) (bool, error) { return r.data.Has(ctx, c) }

func (r remoteBlocks) Put(ctx context.Context, bs ...dag.Block) error {
	out := make([]api.Block, len(bs))
	for i, b := range bs {
		out[i] = api.Block{CID: b.CID(), Data: b.Data()}
	}
	return r.data.Put(ctx, out...)
}
