package scheduler

import (
	"slices"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Record explains the result of a Placement. It becomes part of the job's record. It covers every
// peer that was known: a peer that was asked has its own PeerRecord, the others are in a Skip.
type Record struct {
	Where    string        `json:"where"`               // Request.Where
	Attempts int           `json:"attempts"`            // rounds of asking
	Peers    []PeerRecord  `json:"bids,omitempty"`      // in the order in which they became known; at most MaxRecorded
	Omitted  int           `json:"omitted,omitempty"`   // number of peers beyond MaxKnown, which are ignored
	Skipped  []Skip        `json:"skipped,omitempty"`   // peers that were not asked
	Awards   []AwardRecord `json:"awards,omitempty"`    // in order; the last award of a slot counts
	Announce int           `json:"announced,omitempty"` // number of announcements
	Ended    string        `json:"ended,omitempty"`     // a sentence; empty while the placement goes on
}

// MaxRecorded is the maximum length of Record.Peers.
const MaxRecorded = 1024

// PeerRecord is the last answer of one peer.
type PeerRecord struct {
	Peer    job.DID       `json:"peer"`
	Self    bool          `json:"self,omitempty"`
	Holder  bool          `json:"holder,omitempty"`
	Attempt int           `json:"attempt"` // round of asking of this answer, from 0
	RTT     time.Duration `json:"rtt_ns,omitempty"`
	Have    uint64        `json:"have"`
	Missing uint64        `json:"missing"`
	Exact   bool          `json:"exact,omitempty"`
	Guess   bool          `json:"guess,omitempty"` // Missing is a guess: the size of the inputs is unknown
	Queue   time.Duration `json:"queue_ns"`
	Fetch   time.Duration `json:"fetch_ns"`
	Run     time.Duration `json:"run_ns"`
	Slots   int           `json:"slots"`
	Factor  float64       `json:"calibration,omitempty"` // the times of the bid were multiplied by it
	Score   float64       `json:"score,omitempty"`       // seconds; the lowest score wins
	Code    string        `json:"code,omitempty"`        // of a refusal, or one of those below
	Why     string        `json:"why"`                   // a sentence: the state of this bid and its reason
}

// Codes of a PeerRecord beyond those of a job.Bid.
const (
	CodeUnreached = "unreached" // the peer could not be asked
	CodeDenied    = "denied"    // this node does not send jobs to the peer
	CodeSilent    = "silent"    // no answer in the window
	CodeUnneeded  = "unneeded"  // the job ended before its answer
	CodeDeclined  = "declined"  // it bid, but declined the award
	CodeLost      = "lost"      // it had the job and lost it
)

// Skip is a reason why peers were not asked, and those peers.
type Skip struct {
	Code  string    `json:"code,omitempty"`
	Why   string    `json:"why"`
	Count int       `json:"count"`
	Peers []job.DID `json:"peers"` // the first few
}

// AwardRecord is one award and how it ended.
type AwardRecord struct {
	Slot    int           `json:"slot"` // index of the run, from 0
	Attempt int           `json:"attempt"`
	Peer    job.DID       `json:"peer"`
	Self    bool          `json:"self,omitempty"`
	Lease   Lease         `json:"lease"`
	At      time.Time     `json:"at"`
	Claimed time.Duration `json:"claimed_ns"`
	Took    time.Duration `json:"took_ns,omitempty"` // from the award to its end
	State   string        `json:"state"`             // AwardOpen to AwardClosed
	Why     string        `json:"why,omitempty"`     // of a declined or lost award
	Result  *Result       `json:"result,omitempty"`
}

// The states of an AwardRecord.
const (
	AwardOpen     = "open"     // not answered yet
	AwardRunning  = "running"  // accepted
	AwardDeclined = "declined" // no reservation was made
	AwardLost     = "lost"     // the lease ended without a result
	AwardDone     = "done"
	AwardClosed   = "closed" // ended by the requester
)

// Bounds of Record.Skipped.
const (
	maxSkips    = 64
	maxSkipDIDs = 8
)

// Record returns the current record. The caller owns it.
func (p *Placement) Record() Record {
	r := p.rec
	r.Peers = slices.Clone(r.Peers)
	r.Awards = slices.Clone(r.Awards)
	for _, q := range p.order {
		if q.rec >= 0 {
			continue
		}
		code, why := q.code, q.why
		if why == "" {
			why = p.unasked()
		}
		r.Skipped = skip(r.Skipped, code, why, q.did)
	}
	return r
}

// unasked returns why a suitable peer was not asked.
func (p *Placement) unasked() string {
	switch {
	case p.rec.Attempts > 0:
		return "not asked: enough other peers were asked"
	case slices.ContainsFunc(p.rec.Awards, func(a AwardRecord) bool { return a.Self }):
		return "not asked: this node holds all inputs"
	}
	return "not asked: no peer was asked"
}

// skip adds one peer to the Skip of its reason. The last Skip collects the reasons beyond maxSkips.
func skip(skips []Skip, code, why string, d job.DID) []Skip {
	i := slices.IndexFunc(skips, func(s Skip) bool { return s.Why == why && s.Code == code })
	switch {
	case i >= 0:
	case len(skips) < maxSkips-1:
		i, skips = len(skips), append(skips, Skip{Code: code, Why: why})
	case len(skips) == maxSkips-1:
		i, skips = len(skips), append(skips, Skip{Why: "for other reasons"})
	default:
		i = maxSkips - 1
	}
	s := &skips[i]
	s.Count++
	if len(s.Peers) < maxSkipDIDs {
		s.Peers = append(s.Peers, d)
	}
	return skips
}

// line updates the PeerRecord of q and returns its index.
func (p *Placement) line(q *peer) int {
	i := q.rec
	if i < 0 {
		if len(p.rec.Peers) >= MaxRecorded {
			return -1
		}
		i = len(p.rec.Peers)
		p.rec.Peers = append(p.rec.Peers, PeerRecord{})
	}
	b := p.informed(q.bid)
	p.rec.Peers[i] = PeerRecord{
		Peer: q.did, Self: q == p.self, Holder: q.holder, Attempt: q.attempt, RTT: q.rtt,
		Have: b.Have, Missing: b.Missing, Exact: b.Exact, Guess: p.isGuess(q.bid), Queue: millis(b.Queue), Fetch: millis(b.Fetch), Run: millis(b.Run), Slots: b.Slots,
		Factor: q.factor, Score: q.score, Code: q.code, Why: q.why,
	}
	return i
}
