package scheduler

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// One round of asking: which peers to ask, until when, and how to judge their answers.

// ask starts the next round. Without a peer to ask it is over at once.
func (p *Placement) ask(now time.Time) {
	p.round++
	p.retryAt, p.asked = time.Time{}, 0
	p.askUntil = now.Add(p.cfg.Window)
	for _, q := range p.contacted {
		if q != p.self && (q.state == peerRefused || q.state == peerBid && !p.fresh(q, now)) {
			q.state = peerKnown
		}
	}
	if p.needsAnnounce(len(p.eligible())) {
		p.announce(now)
	}
	p.askMore(now)
	if p.asked == 0 && p.callUntil.IsZero() {
		p.askUntil = time.Time{}
		return
	}
	p.rec.Attempts++
}

// needsAnnounce reports whether to announce the job: fewer suitable peers are known than needed.
func (p *Placement) needsAnnounce(fits int) bool {
	if p.req.Alone || p.req.Where != Anywhere && p.req.Where != OnNetwork {
		return false
	}
	if p.self.state == peerBid && p.self.bid.Missing == 0 {
		fits++
	}
	return fits < p.empty()
}

func (p *Placement) announce(now time.Time) {
	p.callUntil = now.Add(p.cfg.Window)
	p.askUntil = p.callUntil.Add(p.cfg.Window)
	p.rec.Announce++
	var exclude []job.DID
	for _, q := range p.order {
		if (q.state == peerOut || q.state == peerUnfit || q.state == peerUsed) && q != p.self && len(exclude) < job.MaxExclude {
			exclude = append(exclude, q.did)
		}
	}
	p.do(Announce{Window: p.cfg.Window, Exclude: exclude})
	p.noteNext("too few peers are known: announcing the job")
}

// askMore asks the peers that were not asked yet, up to the limit of the round.
func (p *Placement) askMore(now time.Time) {
	room := p.cfg.Asked - p.asked
	if room <= 0 {
		return
	}
	var to []job.DID
	for _, q := range p.choose(p.eligible(), room) {
		q.set(peerAsked, "", "waiting for its bid")
		q.open, q.attempt, q.askedAt = true, p.round, now
		q.bid = job.Bid{}
		if !q.contacted {
			q.contacted = true
			p.contacted = append(p.contacted, q)
		}
		q.rec = p.line(q)
		to = append(to, q.did)
	}
	if len(to) == 0 {
		return
	}
	p.asked += len(to)
	p.do(Ask{Peers: to, Attempt: p.round, Window: p.askUntil.Sub(now)})
}

// eligible returns the peers that may be asked now.
func (p *Placement) eligible() (fits []*peer) {
	for _, q := range p.order {
		if q.state == peerKnown && q != p.self {
			fits = append(fits, q)
		}
	}
	return fits
}

// choose picks at most n of fits. Holders come first, and among them those with a free slot by
// their hints. Unless free holders take all places, a quarter of the places is for peers that hold
// nothing, so that a job can move away from holders that are all busy. Preferred labels come next.
// The rest is random, seeded by the order.
func (p *Placement) choose(fits []*peer, n int) []*peer {
	if len(fits) <= n {
		return fits
	}
	p.random().Shuffle(len(fits), func(i, j int) { fits[i], fits[j] = fits[j], fits[i] })
	holders, free := 0, 0
	for _, q := range fits {
		q.attraction = p.attraction(q)
		if q.holder {
			holders++
			if q.hint > 0 {
				free++
			}
		}
	}
	slices.SortStableFunc(fits, func(a, b *peer) int { return cmp.Compare(b.attraction, a.attraction) })
	others := max(min(n/4, n-free), n-holders, 0)
	others = min(others, len(fits)-holders)
	return slices.Concat(fits[:n-others], fits[holders:holders+others])
}

// attraction orders the peers to ask, the largest first.
func (p *Placement) attraction(q *peer) (a float64) {
	if q.holder {
		a += 8
	}
	switch {
	case q.hint > 0:
		a += 4
	case q.hint < 0:
		a += 2
	}
	return a + met(p.req.Job, q.capacity)
}

// random returns a random source that is specific to each round of each job.
func (p *Placement) random() *rand.Rand {
	h := sha256.New()
	h.Write(p.req.CID.Bytes())
	h.Write(p.req.Job.Nonce[:])
	h.Write(binary.AppendUvarint(nil, uint64(p.round)))
	s := h.Sum(nil)
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])))
}

// answered handles the bid or refusal of a peer that was asked.
func (p *Placement) answered(ev Bid, now time.Time) {
	q := p.peers[ev.Peer]
	if q == nil || q.state != peerAsked {
		return
	}
	q.rtt = ev.RTT
	q.bid, q.bidAt = ev.Bid, now
	if ev.Bid.Refuses() {
		q.refuse(ev.Bid)
		q.open = false
	} else {
		q.set(peerBid, "", outbid)
		q.renewed = false
		p.price(q)
	}
	q.rec = p.line(q)
}

// price computes the score of the bid of q, corrected by its calibration.
func (p *Placement) price(q *peer) {
	if q != p.self {
		q.factor = p.cfg.Factor(q.did)
	}
	q.score = score(p.informed(q.bid), q.factor, met(p.req.Job, q.capacity))
}

// informed returns b with a corrected estimate of the missing bytes, when the peer does not know
// how much it lacks and an exact bid of another peer tells the size of the inputs.
func (p *Placement) informed(b job.Bid) job.Bid {
	if b.Exact || b.Missing == 0 {
		return b
	}
	whole := p.whole()
	if whole <= b.Have || whole-b.Have >= b.Missing {
		return b
	}
	missing := whole - b.Have
	b.Fetch = int64(float64(b.Fetch) * float64(missing) / float64(b.Missing))
	b.Missing = missing
	return b
}

// whole returns the size of the inputs by the exact bids, or 0.
func (p *Placement) whole() (whole uint64) {
	for _, q := range p.order {
		if (q.state == peerBid || q.state == peerUsed) && q.bid.Exact {
			whole = max(whole, q.bid.Have+q.bid.Missing)
		}
	}
	return whole
}

// isGuess reports whether the missing bytes of b are a guess: neither the requester nor any peer that bid knows the
// size of the inputs.
func (p *Placement) isGuess(b job.Bid) bool {
	return !b.Exact && b.Missing > 0 && p.req.Work.Bytes == 0 && p.informed(b) == b
}

func (p *Placement) unreached(ev AskFailed) {
	q := p.peers[ev.Peer]
	if q == nil || q.state != peerAsked {
		return
	}
	why := truncate(orDefaultText(ev.Why, "unknown reason"))
	if ev.Denied {
		q.set(peerOut, CodeDenied, "this node does not send it jobs: "+why)
	} else {
		q.set(peerRefused, CodeUnreached, "it could not be reached: "+why)
	}
	q.open = false
	q.rec = p.line(q)
}

// enough reports whether to stop waiting for answers: there are enough bids with nothing missing
// and no queue, every peer has answered, or the window has closed. A peer that has not answered by
// then may still do so until the window closes: its bid is the next in rank if the award fails.
func (p *Placement) enough() bool {
	if p.askUntil.IsZero() {
		return true
	}
	good, open := 0, 0
	for _, q := range p.contacted {
		switch {
		case q.state == peerAsked:
			open++
		case q.state == peerBid && q != p.self && q.open && perfect(q.bid) && p.credible(q):
			good++
		}
	}
	return good >= p.empty() || open == 0 && p.callUntil.IsZero()
}

// credible reports whether the bid of q alone may end the asking. The claims of q must have been
// accurate so far. If it claims to hold inputs, another source must say so too, unless no peer is
// known to hold any.
func (p *Placement) credible(q *peer) bool {
	return q.factor < maxTrustedFactor && (q.holder || q.bid.Have == 0 || !p.holders)
}

// perfect reports whether a bid has nothing missing and no queue.
func perfect(b job.Bid) bool { return b.Missing == 0 && b.Queue == 0 && b.Slots > 0 }

// closeWindow ends the wait for the peers that have not answered in time.
func (p *Placement) closeWindow(now time.Time) {
	if !now.Before(p.callUntil) {
		p.callUntil = time.Time{}
	}
	if p.askUntil.IsZero() || now.Before(p.askUntil) {
		return
	}
	p.askUntil = time.Time{}
	for _, q := range p.contacted {
		if q.state == peerAsked {
			q.set(peerRefused, CodeSilent, "it did not answer within "+roundTime(now.Sub(q.askedAt)))
			q.rec = p.line(q)
			p.close(q, CloseLost)
		}
	}
}

// empty returns the number of slots that need a peer.
func (p *Placement) empty() (n int) {
	for i := range p.slots {
		if p.slots[i].state == slotEmpty {
			n++
		}
	}
	return n
}
