package scheduler

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// best returns the peer with the best bid that can be accepted, or nil.
func (p *Placement) best(now time.Time) *peer {
	var bids []*peer
	for _, q := range p.contacted {
		if p.awardable(q, now) {
			p.price(q)
			bids = append(bids, q)
		}
	}
	if len(bids) == 0 {
		return nil
	}
	least := slices.MinFunc(bids, func(a, b *peer) int { return cmp.Compare(a.score, b.score) }).score
	bids = slices.DeleteFunc(bids, func(q *peer) bool { return q.score > least*tie })
	return slices.MinFunc(bids, func(a, b *peer) int {
		if c := cmp.Compare(a.bid.Missing, b.bid.Missing); c != 0 {
			return c
		}
		if a.holder != b.holder { // other sources confirm what a holder claims
			if a.holder {
				return -1
			}
			return 1
		}
		return bytes.Compare(tieBreak(p.req.CID, a.did), tieBreak(p.req.CID, b.did))
	})
}

func (p *Placement) awardable(q *peer, now time.Time) bool {
	return q.state == peerBid && p.fresh(q, now)
}

// fresh reports whether the bid of q may still be accepted. This node's own bid does not age.
func (p *Placement) fresh(q *peer, now time.Time) bool {
	return q == p.self || q.open && now.Sub(q.bidAt) < p.cfg.BidAge
}

// tieBreak breaks the remaining ties, differently for each job.
func tieBreak(c cid.Cid, d job.DID) []byte {
	h := sha256.New()
	h.Write(c.Bytes())
	h.Write([]byte(d))
	return h.Sum(nil)
}

// sources lists the other holders of inputs: those that measured the most first, then those that
// are only said to hold some. This node is included if it holds any.
func (p *Placement) sources(but *peer) (ds []job.DID) {
	var holders []*peer
	for _, q := range p.order {
		gone := q.code == CodeUnreached || q.code == CodeSilent || q.code == CodeLost
		if q != but && !gone && (q.bid.Have > 0 || q.holder) {
			holders = append(holders, q)
		}
	}
	slices.SortStableFunc(holders, func(a, b *peer) int { return cmp.Compare(b.bid.Have, a.bid.Have) })
	for _, q := range holders[:min(len(holders), MaxSources)] {
		ds = append(ds, q.did)
	}
	return ds
}
