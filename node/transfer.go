package node

import (
	"context"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// fetchTime bounds the search for one block.
const fetchTime = 20 * time.Second

// Fetch implements api.Data.
func (v *View) Fetch(ctx context.Context, c cid.Cid) error {
	has, err := v.session.Has(ctx, c)
	if err != nil || has {
		return apiError(ctx, err)
	}
	w := v.node.net.Load()
	if w == nil {
		return apiError(ctx, &dag.NotFoundError{CID: c})
	}
	var sources []peer.AddrInfo
	for _, p := range w.peer.Peers() {
		if p.Connected && len(sources) < maxFetchFrom {
			sources = append(sources, w.addrInfo(p.ID))
		}
	}
	s := w.exchange.Session(exchange.SessionConfig{Local: v.session, Sources: sources})
	defer s.Close()
	within, cancel := context.WithTimeoutCause(ctx, fetchTime, &dag.NotFoundError{CID: c})
	defer cancel()
	_, err = s.Get(within, c)
	return apiError(ctx, err)
}

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
