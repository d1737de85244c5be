package api

import (
	"time"

	"github.com/ipfs/go-cid"
)

// Event is one change in the life of a job. A job's events are numbered from 0, without
// a gap; beats and progress are not among them, so that there are tens of them and not
// thousands.
type Event struct {
	Seq     int               `json:"seq"`
	At      time.Time         `json:"at"`
	Kind    EventKind         `json:"kind"`
	Text    string            `json:"text"`           // one line for people
	Peer    string            `json:"peer,omitempty"` // DID of the peer that it is about
	Attempt int               `json:"attempt,omitempty"`
	Phase   string            `json:"phase,omitempty"` // with EventPhase: fetch, compile, run or pack
	Fields  map[string]string `json:"fields,omitempty"`
}

// EventKind is a word that programs decide by. There may be further ones: a program
// shows the Text of a kind that it does not know.
type EventKind string

// The kinds of Event.
const (
	EventSubmitted EventKind = "submitted" // always the first
	EventAsked     EventKind = "asked"     // peers were asked, or told by an announcement
	EventAwarded   EventKind = "awarded"   // Peer has accepted it
	EventDeclined  EventKind = "declined"  // Peer, which it was offered, says no
	EventStarted   EventKind = "started"   // it runs here
	EventPhase     EventKind = "phase"     // Peer is now at Phase
	EventLost      EventKind = "lost"      // Peer is gone, or has failed
	EventMismatch  EventKind = "mismatch"  // Peer has printed what an Outcome does not say
	EventWaiting   EventKind = "waiting"   // nothing can be done for a while
	EventNote      EventKind = "note"      // anything else worth a line
	EventDone      EventKind = "done"      // the last: there is an Outcome
	EventFailed    EventKind = "failed"    // the last: there is none
)

// Last reports whether no event comes after one of this kind.
func (k EventKind) Last() bool { return k == EventDone || k == EventFailed }

// Placement is how it was decided where a job runs: what every peer that was known
// answered, or why it was not asked. Its JSON is that of a scheduler.Record.
type Placement struct {
	Where     string  `json:"where"`
	Attempts  int     `json:"attempts"`            // rounds of asking
	Bids      []Bid   `json:"bids,omitempty"`      // in the order in which the peers were met
	Omitted   int     `json:"omitted,omitempty"`   // peers beyond those
	Skipped   []Skip  `json:"skipped,omitempty"`   // who was not asked
	Awards    []Award `json:"awards,omitempty"`    // in order; the last of a slot decides
	Announced int     `json:"announced,omitempty"` // how often it was
	Ended     string  `json:"ended,omitempty"`     // a sentence; empty while it goes on
}

// Bid is one peer's last answer.
type Bid struct {
	Peer    string        `json:"peer"` // DID
	Self    bool          `json:"self,omitempty"`
	Holder  bool          `json:"holder,omitempty"` // it was known to hold inputs
	Attempt int           `json:"attempt"`          // the round of this answer
	RTT     time.Duration `json:"rtt_ns,omitempty"`
	Have    uint64        `json:"have"` // bytes of the inputs that it holds
	Missing uint64        `json:"missing"`
	Exact   bool          `json:"exact,omitempty"` // both were counted to the end
	Queue   time.Duration `json:"queue_ns"`
	Fetch   time.Duration `json:"fetch_ns"`
	Run     time.Duration `json:"run_ns"`
	Slots   int           `json:"slots"`                 // free
	Factor  float64       `json:"calibration,omitempty"` // what its claim was multiplied by
	Score   float64       `json:"score,omitempty"`       // seconds; the smallest was best
	Code    string        `json:"code,omitempty"`        // of a refusal, or of an answer that did not come
	Why     string        `json:"why"`                   // a sentence: what became of it
}

// Skip is why some peers were not asked.
type Skip struct {
	Code  string   `json:"code,omitempty"`
	Why   string   `json:"why"`
	Count int      `json:"count"`
	Peers []string `json:"peers"` // DIDs of the first few
}

// Award is one award and its end.
type Award struct {
	Slot    int           `json:"slot"` // of the runs, from 0
	Attempt int           `json:"attempt"`
	Peer    string        `json:"peer"` // DID
	Self    bool          `json:"self,omitempty"`
	Lease   string        `json:"lease"`
	At      time.Time     `json:"at"`
	Claimed time.Duration `json:"claimed_ns"`
	Took    time.Duration `json:"took_ns,omitempty"`
	State   string        `json:"state"` // open, running, declined, lost, done or closed
	Why     string        `json:"why,omitempty"`
	Result  *RunResult    `json:"result,omitempty"`
}

// Mismatch is a peer that has printed what an Outcome does not say.
type Mismatch struct {
	Peer    string  `json:"peer"`   // DID
	Stream  string  `json:"stream"` // "stdout" or "stderr"
	Shown   bool    `json:"shown"`  // before it was found out
	Issuer  string  `json:"issuer"` // DID of who signed Receipt: Peer, or the next to run the job when Peer was lost before it had an Outcome
	Outcome cid.Cid `json:"outcome"`
	Receipt cid.Cid `json:"receipt"`
}

// MaxMismatches bounds Job.Mismatches.
const MaxMismatches = 32

// Run is one of several runs of one job.
type RunResult struct {
	Peer    string  `json:"peer"` // DID
	Outcome cid.Cid `json:"outcome"`
	Receipt cid.Cid `json:"receipt,omitzero"`
}

// The values of Request.Where; any other is the DID or the peer id of one peer.
const (
	WhereBest    = ""        // wherever it is done first, this node among others
	WhereLocal   = "local"   // here
	WhereNetwork = "network" // anywhere but here
)

// Bounds of a Request's placement and of the events that are kept of a job.
const (
	MaxRuns   = 16
	MaxEvents = 512
)

// placed is the part of a Request that says where it may run, as JSON.
type placed struct {
	Where    string            `json:"where,omitempty"`
	Need     map[string]string `json:"need,omitempty"`
	Prefer   map[string]string `json:"prefer,omitempty"`
	Runs     int               `json:"runs,omitempty"`
	Priority int               `json:"priority,omitempty"`
	Publish  bool              `json:"publish,omitempty"`
}
