package scheduler

import (
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// peer is what a Placement knows of one peer.
type peer struct {
	did      job.DID
	holder   bool
	capacity *job.Capacity
	hint     int // free slots by its last hint; negative: unknown

	state peerState
	code  string // why, of a state that is no bid
	why   string

	met     bool    // it was asked
	draw    float64 // how much it attracts an Ask
	attempt int     // of the Job that it was asked for last
	askedAt time.Time
	bid     job.Bid
	bidAt   time.Time
	rtt     time.Duration
	score   float64
	factor  float64
	open    bool // a conversation with it exists
	taken   bool // an award of it is alive, or has its result
	renewed bool // its price was renewed by a Declined once
	rec     int  // of Record.Peers; negative: none
}

// peerState is what became of a peer.
type peerState int

const (
	peerKnown   peerState = iota // not asked yet
	peerBarred                   // the request excludes it
	peerUnfit                    // its capacity excludes it
	peerAsked                    // its answer is waited for
	peerBid                      // it has made a price that was not taken yet
	peerUsed                     // its bid was taken
	peerRefused                  // it does not want, or did not answer: it may be asked again
	peerOut                      // it is not asked again for this job
)

func (q *peer) set(s peerState, code, why string) { q.state, q.code, q.why = s, code, why }

// refuse takes a refusal for what it is worth: some reasons pass, others do not.
func (q *peer) refuse(b job.Bid) {
	state := peerRefused
	if lasting(b.Code) {
		state = peerOut
	}
	q.set(state, b.Code, cut(orDefaultText(b.Refusal, "it gives no reason")))
}

// lasting reports whether a peer that refuses with code would refuse again in a few
// seconds. A code that is not known is one of a later version, and taken to last.
func lasting(code string) bool {
	switch code {
	case job.RefuseRate, job.RefuseBusy, job.RefuseMemory, job.RefuseDisk, job.RefuseFault:
		return false
	}
	return true
}

// known returns the peer d, which is met if it was not; nil when there are too many.
func (p *Placement) known(d job.DID) *peer {
	if q, ok := p.peers[d]; ok {
		return q
	}
	if len(p.order) >= MaxKnown {
		p.rec.Omitted++
		return nil
	}
	q := &peer{did: d, hint: -1, rec: -1, factor: 1}
	p.peers[d] = q
	p.order = append(p.order, q)
	if !p.wants(d) {
		q.set(peerBarred, "", barred(p.req.Where))
	}
	return q
}

// meet takes notice of candidates, new ones or with news.
func (p *Placement) meet(cs []Candidate) {
	for _, c := range cs {
		q := p.known(c.Peer)
		if q == nil || q == p.self {
			continue
		}
		q.holder = q.holder || c.Holder
		p.holders = p.holders || c.Holder
		q.hint = c.Slots
		if c.Capacity == nil || q.capacity != nil {
			continue
		}
		q.capacity = c.Capacity
		if code, why := unfit(p.req.Job, p.req.Work, *c.Capacity); code != "" && q.state == peerKnown {
			q.set(peerUnfit, code, why)
		}
	}
}

// wants reports whether the request allows d.
func (p *Placement) wants(d job.DID) bool {
	switch p.req.Where {
	case Anywhere:
		return true
	case Local:
		return d == p.req.Self
	case OnNetwork:
		return d != p.req.Self
	}
	return d == job.DID(p.req.Where)
}

// wantsOne reports whether the request names a peer other than this node.
func (p *Placement) wantsOne() bool {
	return p.req.Where != Anywhere && p.req.Where != Local && p.req.Where != OnNetwork && p.req.Where != string(p.req.Self)
}

func barred(where string) string {
	switch where {
	case Local:
		return "the job is to run on the requester's own node"
	case OnNetwork:
		return "the job is to run on another node than the requester's"
	}
	return "the job is to run on " + Short(job.DID(where))
}
