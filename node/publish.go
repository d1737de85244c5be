package node

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// published returns the published roots, read on first use.
func (n *Node) published(ctx context.Context) (*exchange.Published, error) {
	n.lazy.Lock()
	defer n.lazy.Unlock()
	if n.lazy.published == nil {
		p, err := exchange.OpenPublished(ctx, n.store)
		if err != nil {
			return nil, err
		}
		n.lazy.published = p
	}
	return n.lazy.published, nil
}

// Publish implements api.Publishing.
func (v *View) Publish(ctx context.Context, root cid.Cid) error {
	if !root.Defined() {
		return api.Errorf(api.CodeUsage, "publish: no root CID")
	}
	has, err := v.session.Has(ctx, root)
	if err != nil {
		return apiError(ctx, err)
	}
	if !has {
		return apiError(ctx, &dag.NotFoundError{CID: root})
	}
	p, err := v.node.published(ctx)
	if err == nil {
		err = p.Publish(ctx, root, v.node.clock())
	}
	return apiError(ctx, err)
}

// Unpublish implements api.Publishing.
func (v *View) Unpublish(ctx context.Context, root cid.Cid) error {
	p, err := v.node.published(ctx)
	if err != nil {
		return apiError(ctx, err)
	}
	was, err := p.Unpublish(ctx, root)
	if err == nil && !was {
		return api.Errorf(api.CodeMissing, "%s is not published", root)
	}
	return apiError(ctx, err)
}

// Published implements api.Publishing.
func (v *View) Published(ctx context.Context) ([]api.Publication, error) {
	p, err := v.node.published(ctx)
	if err != nil {
		return nil, apiError(ctx, err)
	}
	var all []api.Publication
	for _, r := range p.List() {
		all = append(all, api.Publication{Root: r.CID, At: r.Added})
	}
	return all, nil
}
