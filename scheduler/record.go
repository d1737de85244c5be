package scheduler

import (
	"slices"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Record is what became of a Placement and why: it goes into the job's record. It
// explains every peer that was known: by a line of its own when it was asked, by a
// Skip when it was not.
type Record struct {
	Where    string        `json:"where"`               // "" for anywhere
	Attempts int           `json:"attempts"`            // rounds of asking
	Peers    []PeerRecord  `json:"bids,omitempty"`      // in the order in which they were met; at most MaxRecorded
	Omitted  int           `json:"omitted,omitempty"`   // peers beyond MaxKnown: no notice was taken of them
	Skipped  []Skip        `json:"skipped,omitempty"`   // who was not asked
	Awards   []AwardRecord `json:"awards,omitempty"`    // in order; the last of a slot decides
	Announce int           `json:"announced,omitempty"` // times that it was announced
	Ended    string        `json:"ended,omitempty"`     // a sentence; empty while it goes on
}

// MaxRecorded bounds the peers of a Record that have a line of their own.
const MaxRecorded = 1024

// PeerRecord is one peer's last answer.
type PeerRecord struct {
	Peer    job.DID       `json:"peer"`
	Self    bool          `json:"self,omitempty"`
	Holder  bool          `json:"holder,omitempty"`
	Attempt int           `json:"attempt"` // the round of this answer
	RTT     time.Duration `json:"rtt_ns,omitempty"`
	Have    uint64        `json:"have"`
	Missing uint64        `json:"missing"`
	Exact   bool          `json:"exact,omitempty"`
	Queue   time.Duration `json:"queue_ns"`
	Fetch   time.Duration `json:"fetch_ns"`
	Run     time.Duration `json:"run_ns"`
	Slots   int           `json:"slots"`
	Factor  float64       `json:"calibration,omitempty"` // what its claim was multiplied by
	Score   float64       `json:"score,omitempty"`       // seconds; the smallest was best
	Code    string        `json:"code,omitempty"`        // of a refusal, or one of those below
	Why     string        `json:"why"`                   // a sentence: what became of it
}

// Codes of a PeerRecord beyond those of a job.Bid.
const (
	CodeUnreached = "unreached" // the Ask did not get through
	CodeDenied    = "denied"    // this node does not let the peer have jobs
	CodeSilent    = "silent"    // no answer in the window
	CodeUnneeded  = "unneeded"  // the job ended before its answer
	CodeDeclined  = "declined"  // it bid, and declined the award
	CodeLost      = "lost"      // it had the job and lost it
)

// Skip is why some peers were not asked.
type Skip struct {
	Code  string    `json:"code,omitempty"`
	Why   string    `json:"why"`
	Count int       `json:"count"`
	Peers []job.DID `json:"peers"` // the first few
}

// AwardRecord is one award and its end.
type AwardRecord struct {
	Slot    int           `json:"slot"` // of the runs, from 0
	Attempt int           `json:"attempt"`
	Peer    job.DID       `json:"peer"`
	Self    bool          `json:"self,omitempty"`
	Lease   Lease         `json:"lease"`
	At      time.Time     `json:"at"`
	Claimed time.Duration `json:"claimed_ns"`
	Took    time.Duration `json:"took_ns,omitempty"` // from award to its end
	State   string        `json:"state"`             // AwardOpen and so on
	Why     string        `json:"why,omitempty"`     // of a declined or lost one
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

// Bounds of the Skips of a Record.
const (
	maxSkips    = 64
	maxSkipDIDs = 8
)

// Record returns what is known so far; the caller owns it.
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
			why = "it was not asked: others came first"
		}
		r.Skipped = skip(r.Skipped, code, why, q.did)
	}
	return r
}

// skip adds one peer to the Skip of its reason; the last one takes what is too much.
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

// line writes what is known of q into its line of the record and returns the index.
func (p *Placement) line(q *peer) int {
	i := q.rec
	if i < 0 {
		if len(p.rec.Peers) >= MaxRecorded {
			return -1
		}
		i = len(p.rec.Peers)
		p.rec.Peers = append(p.rec.Peers, PeerRecord{})
	}
	b := q.bid
	p.rec.Peers[i] = PeerRecord{
		Peer: q.did, Self: q == p.self, Holder: q.holder, Attempt: q.attempt, RTT: q.rtt,
		Have: b.Have, Missing: b.Missing, Exact: b.Exact, Queue: millis(b.Queue), Fetch: millis(b.Fetch), Run: millis(b.Run), Slots: b.Slots,
		Factor: q.factor, Score: q.score, Code: q.code, Why: q.why,
	}
	return i
}
