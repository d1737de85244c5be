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

// A round of asking: whom, until when, and what their answers mean.

// ask begins the next round. With nobody to ask it is over at once.
func (p *Placement) ask(now time.Time) {
	p.round++
	p.retryAt, p.asked = time.Time{}, 0
	p.askUntil = now.Add(p.cfg.Window)
	for _, q := range p.met {
		if q != p.self && (q.state == peerRefused || q.state == peerBid && !p.fresh(q, now)) {
			q.state = peerKnown
		}
	}
	if p.callFor(len(p.eligible())) {
		p.announce(now)
	}
	p.askMore(now)
	if p.asked == 0 && p.callUntil.IsZero() {
		p.askUntil = time.Time{}
		return
	}
	p.rec.Attempts++
}

// callFor reports whether the network has to be told: fewer fits are known than needed.
func (p *Placement) callFor(fits int) bool {
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
	p.say("too few peers are known, so the job is announced")
}

// askMore asks those who are not asked yet, as far as the round's bound goes.
func (p *Placement) askMore(now time.Time) {
	room := p.cfg.Asked - p.asked
	if room <= 0 {
		return
	}
	var to []job.DID
	for _, q := range p.choose(p.eligible(), room) {
		q.set(peerAsked, "", "its answer is waited for")
		q.open, q.attempt, q.askedAt = true, p.round, now
		q.bid = job.Bid{}
		if !q.met {
			q.met = true
			p.met = append(p.met, q)
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

// eligible lists who may be asked now.
func (p *Placement) eligible() (fits []*peer) {
	for _, q := range p.order {
		if q.state == peerKnown && q != p.self {
			fits = append(fits, q)
		}
	}
	return fits
}

// choose picks at most n of fits. Holders come first, those with a free slot, by their
// hints, before the others; but unless free ones take all places, a quarter of them is
// for peers that hold nothing, so that a job can move away from holders that are all
// busy. Preferred labels come next; the rest is chance, seeded by the job.
func (p *Placement) choose(fits []*peer, n int) []*peer {
	if len(fits) <= n {
		return fits
	}
	p.random().Shuffle(len(fits), func(i, j int) { fits[i], fits[j] = fits[j], fits[i] })
	holders, free := 0, 0
	for _, q := range fits {
		q.draw = p.attraction(q)
		if q.holder {
			holders++
			if q.hint > 0 {
				free++
			}
		}
	}
	slices.SortStableFunc(fits, func(a, b *peer) int { return cmp.Compare(b.draw, a.draw) })
	others := max(min(n/4, n-free), n-holders, 0)
	others = min(others, len(fits)-holders)
	return slices.Concat(fits[:n-others], fits[holders:holders+others])
}

// attraction orders whom to ask, the largest first.
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

// random is a source of its own for each round of each job.
func (p *Placement) random() *rand.Rand {
	h := sha256.New()
	h.Write(p.req.CID.Bytes())
	h.Write(p.req.Job.Nonce[:])
	h.Write(binary.AppendUvarint(nil, uint64(p.round)))
	s := h.Sum(nil)
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])))
}

// answered takes a bid or a refusal of one who was asked.
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
		q.set(peerBid, "", "its price was not the best")
		q.renewed = false
		p.price(q)
	}
	q.rec = p.line(q)
}

// price scores the bid of q by what its claims were worth so far.
func (p *Placement) price(q *peer) {
	if q != p.self {
		q.factor = p.cfg.Factor(q.did)
	}
	q.score = score(p.informed(q.bid), q.factor, met(p.req.Job, q.capacity))
}

// informed is the bid of a peer that does not know how much it lacks, priced by what
// another one knows of the inputs' size.
func (p *Placement) informed(b job.Bid) job.Bid {
	if b.Exact || b.Missing == 0 {
		return b
	}
	var whole uint64
	for _, q := range p.order {
		if q.state == peerBid && q.bid.Exact {
			whole = max(whole, q.bid.Have+q.bid.Missing)
		}
	}
	if whole <= b.Have || whole-b.Have >= b.Missing {
		return b
	}
	lacks := whole - b.Have
	b.Fetch = int64(float64(b.Fetch) * float64(lacks) / float64(b.Missing))
	b.Missing = lacks
	return b
}

func (p *Placement) unreached(ev AskFailed) {
	q := p.peers[ev.Peer]
	if q == nil || q.state != peerAsked {
		return
	}
	why := cut(orDefaultText(ev.Why, "no reason is known"))
	if ev.Denied {
		q.set(peerOut, CodeDenied, "it may not receive jobs: "+why)
	} else {
		q.set(peerRefused, CodeUnreached, "it could not be reached: "+why)
	}
	q.open = false
	q.rec = p.line(q)
}

// enough reports whether waiting for more answers is over: enough bids have nothing
// missing and no queue, everyone has answered, or the window has closed. Who has not
// answered by then still may, until the window closes: its bid is the next in rank
// should the award fail.
func (p *Placement) enough() bool {
	if p.askUntil.IsZero() {
		return true
	}
	good, open := 0, 0
	for _, q := range p.met {
		switch {
		case q.state == peerAsked:
			open++
		case q.state == peerBid && q != p.self && q.open && perfect(q.bid) && p.credible(q):
			good++
		}
	}
	return good >= p.empty() || open == 0 && p.callUntil.IsZero()
}

// credible reports whether the word of q alone may end the asking: it kept its claims so
// far, and if it claims to hold inputs it is not the only one who says so, unless
// nobody is said to hold any.
func (p *Placement) credible(q *peer) bool {
	return q.factor < doubtful && (q.holder || q.bid.Have == 0 || !p.holders)
}

// perfect bids have nothing missing and no queue.
func perfect(b job.Bid) bool { return b.Missing == 0 && b.Queue == 0 && b.Slots > 0 }

// closeWindow ends the wait for those who have not answered in time.
func (p *Placement) closeWindow(now time.Time) {
	if !now.Before(p.callUntil) {
		p.callUntil = time.Time{}
	}
	if p.askUntil.IsZero() || now.Before(p.askUntil) {
		return
	}
	p.askUntil = time.Time{}
	for _, q := range p.met {
		if q.state == peerAsked {
			q.set(peerRefused, CodeSilent, "it did not answer within "+round(now.Sub(q.askedAt)))
			q.rec = p.line(q)
			p.close(q, CloseLost)
		}
	}
}

// empty counts the slots that need a peer.
func (p *Placement) empty() (n int) {
	for i := range p.slots {
		if p.slots[i].state == slotEmpty {
			n++
		}
	}
	return n
}
