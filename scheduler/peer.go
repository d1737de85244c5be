package scheduler

import (
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// peer is the state of one peer in a Placement.
type peer struct {
	did      job.DID
	holder   bool
	capacity *job.Capacity
	hint     int // free slots by its last hint; negative: unknown

	state peerState
	code  string // reason code of a state that is not a bid
	why   string // the reason as a sentence

	contacted  bool    // it was asked
	attraction float64 // attraction, for choose
	attempt    int     // Order.Attempt of the last Ask to it
	askedAt    time.Time
	bid        job.Bid
	bidAt      time.Time
	rtt        time.Duration
	score      float64
	factor     float64
	open       bool // a conversation with it is open
	taken      bool // an award to it is active or has its result
	renewed    bool // its queue time was updated once by a Declined
	rec        int  // index in Record.Peers; negative: none
}

// peerState is the state of a peer.
type peerState int

const (
	peerKnown   peerState = iota // not asked yet
	peerBarred                   // the request excludes it
	peerUnfit                    // its capacity excludes it
	peerAsked                    // its answer is pending
	peerBid                      // its bid was not taken yet
	peerUsed                     // its bid was taken
	peerRefused                  // it refused or did not answer: it may be asked again
	peerOut                      // it is not asked again for this job
)

// outbid is the reason of a bid that was not accepted.
const outbid = "another peer's estimate was lower"

func (q *peer) set(s peerState, code, why string) { q.state, q.code, q.why = s, code, why }

// refuse records a refusal. Some reasons are temporary, others are not.
func (q *peer) refuse(b job.Bid) {
	state := peerRefused
	if isPermanent(b.Code) {
		state = peerOut
	}
	q.set(state, b.Code, truncate(orDefaultText(b.Refusal, "no reason given")))
}

// isPermanent reports whether a peer that refuses with code would refuse again in a few seconds. An
// unknown code belongs to a later version and counts as lasting.
func isPermanent(code string) bool {
	switch code {
	case job.RefuseRate, job.RefuseBusy, job.RefuseMemory, job.RefuseDisk, job.RefuseFault:
		return false
	}
	return true
}

// known returns the peer d and adds it if it is new. It returns nil when there are too many peers.
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
	if !p.allows(d) {
		q.set(peerBarred, "", barredText(p.req.Where))
	}
	return q
}

// addCandidates adds new candidates, and updates known ones.
func (p *Placement) addCandidates(cs []Candidate) {
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

// allows reports whether the request allows d.
func (p *Placement) allows(d job.DID) bool {
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

// namesPeer reports whether the request names a peer other than this node.
func (p *Placement) namesPeer() bool {
	return p.req.Where != Anywhere && p.req.Where != Local && p.req.Where != OnNetwork && p.req.Where != string(p.req.Self)
}

func barredText(where string) string {
	switch where {
	case Local:
		return "it is excluded: the job may run only on the requester's node"
	case OnNetwork:
		return "it is excluded: the job may not run on the requester's node"
	}
	return "it is excluded: the job may run only on " + Short(job.DID(where))
}
