package node

import (
	"context"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// fetchTime bounds the search for one block.
const fetchTime = 20 * time.Second

// maxFetchFrom bounds the number of peers that blocks are fetched from.
const maxFetchFrom = 16

// andConnected returns the sources in first, followed by all other connected peers that may be asked for blocks.
func (w *network) andConnected(first []peer.AddrInfo) []peer.AddrInfo {
	all := slices.Clip(first)
	for _, p := range w.peer.Peers() {
		if !p.Connected || !p.Allows(host.BeAsked) || slices.ContainsFunc(first, func(i peer.AddrInfo) bool { return i.ID == p.ID }) {
			continue
		}
		if len(all) >= maxFetchFrom {
			break
		}
		all = append(all, w.addrInfo(p.ID))
	}
	return all
}

// Fetch implements api.Data. A process without a network uses its ephemeral peer.
func (v *View) Fetch(ctx context.Context, c cid.Cid) error {
	has, err := v.session.Has(ctx, c)
	if err != nil || has {
		return apiError(ctx, err)
	}
	w := v.node.net.Load()
	if w == nil {
		f, err := v.node.cluster()
		if err != nil {
			return apiError(ctx, err)
		}
		if f.ID() == "" {
			return apiError(ctx, &dag.NotFoundError{CID: c})
		}
		var leave func()
		if w, leave, err = v.node.acquireEphemeral(ctx); err != nil {
			return apiError(ctx, err)
		}
		defer leave()
		w.awaitPeers(ctx, connectTime)
	}
	s := w.exchange.Session(exchange.SessionConfig{Local: v.session, Sources: w.andConnected(nil)})
	defer s.Close()
	within, cancel := context.WithTimeoutCause(ctx, fetchTime, &dag.NotFoundError{CID: c})
	defer cancel()
	_, err = s.Get(within, c)
	return apiError(ctx, err)
}

// Missing implements api.Data.
func (v *View) Missing(ctx context.Context, cs ...cid.Cid) ([]cid.Cid, error) {
	var missing []cid.Cid
	for _, c := range cs {
		has, err := v.session.Has(ctx, c)
		if err != nil {
			return nil, apiError(ctx, err)
		}
		if !has {
			missing = append(missing, c)
		}
	}
	return missing, nil
}

// Walk implements api.Data.
func (v *View) Walk(ctx context.Context, root cid.Cid, each func(api.Block) error) error {
	if err := v.session.Protect(ctx, root); err != nil {
		return apiError(ctx, err)
	}
	var callErr error
	err := dag.Walk(ctx, v.session, []cid.Cid{root}, dag.WalkOptions{Data: true}, func(b dag.Visited) error {
		callErr = each(api.Block{CID: b.CID, Data: b.Block.Data()})
		return callErr
	})
	if callErr != nil {
		return callErr
	}
	return apiError(ctx, err)
}
