package node

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// Missing implements api.Data.
func (v *View) Missing(ctx context.Context, cs ...cid.Cid) ([]cid.Cid, error) {
	var lacks []cid.Cid
	for _, c := range cs {
		has, err := v.session.Has(ctx, c)
		if err != nil {
			return nil, apiError(ctx, err)
		}
		if !has {
			lacks = append(lacks, c)
		}
	}
	return lacks, nil
}

// Walk implements api.Data.
func (v *View) Walk(ctx context.Context, root cid.Cid, each func(api.Block) error) error {
	if err := v.session.Protect(ctx, root); err != nil {
		return apiError(ctx, err)
	}
	var theirs error
	err := dag.Walk(ctx, v.session, []cid.Cid{root}, dag.WalkOptions{Data: true}, func(b dag.Visited) error {
		theirs = each(api.Block{CID: b.CID, Data: b.Block.Data()})
		return theirs
	})
	if theirs != nil {
		return theirs
	}
	return apiError(ctx, err)
}
