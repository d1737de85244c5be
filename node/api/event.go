package api

import (
	"time"

	"github.com/ipfs/go-cid"
)

// Event is one change in the life of a job. The events of a job are numbered from 0 without gaps.
// Heartbeats and progress are not events, so that a job has tens of events and not thousands.
type Event struct {
	Seq     int               `json:"seq"`
	At      time.Time         `json:"at"`
	Kind    EventKind         `json:"kind"`
	Text    string            `json:"text"`              // one line for display
	Peer    string            `json:"peer,omitempty"`    // DID of the peer that the event is about
	Attempt int               `json:"attempt,omitempty"` // round of asking, from 0
	Phase   string            `json:"phase,omitempty"`   // of an EventPhase: fetch, compile, run or pack
	Fields  map[string]string `json:"fields,omitempty"`
}

// EventKind is the type of an Event, for programs to branch on. New kinds may be added: a program
// shows the Text of an event whose kind it does not know.
type EventKind string

// The kinds of Event.
const (
	EventSubmitted EventKind = "submitted" // always the first
	EventAsked     EventKind = "asked"     // peers were asked for bids, directly or by an announcement
	EventAwarded   EventKind = "awarded"   // Peer was awarded the job
	EventDeclined  EventKind = "declined"  // Peer declined the award
	EventStarted   EventKind = "started"   // the job runs on this node
	EventPhase     EventKind = "phase"     // Peer has reached Phase
	EventLost      EventKind = "lost"      // Peer is gone or has failed
	EventMismatch  EventKind = "mismatch"  // Peer printed output that differs from an Outcome
	EventWaiting   EventKind = "waiting"   // the next attempt starts after a pause
	EventNote      EventKind = "note"      // any other information
	EventDone      EventKind = "done"      // the last event: the job has an Outcome
	EventFailed    EventKind = "failed"    // the last event: the job has no Outcome
)

// Last reports whether an event of this kind is the last one of its job.
func (k EventKind) Last() bool { return k == EventDone || k == EventFailed }

// Placement explains how a provider was chosen: the answer of every known peer, or why it was not
// asked. Its JSON is that of a scheduler.Record.
type Placement struct {
	Where     string  `json:"where"`               // Request.Where
	Attempts  int     `json:"attempts"`            // rounds of asking
	Bids      []Bid   `json:"bids,omitempty"`      // in the order in which the peers became known
	Omitted   int     `json:"omitted,omitempty"`   // number of further peers
	Skipped   []Skip  `json:"skipped,omitempty"`   // peers that were not asked
	Awards    []Award `json:"awards,omitempty"`    // in order; the last award of a slot counts
	Announced int     `json:"announced,omitempty"` // number of announcements
	Ended     string  `json:"ended,omitempty"`     // a sentence; empty while the placement goes on
}

// Bid is the last answer of one peer.
type Bid struct {
	Peer    string        `json:"peer"` // DID
	Self    bool          `json:"self,omitempty"`
	Holder  bool          `json:"holder,omitempty"`      // the peer was known to hold inputs
	Attempt int           `json:"attempt"`               // round of asking of this answer, from 0
	RTT     time.Duration `json:"rtt_ns,omitempty"`      // round-trip time
	Have    uint64        `json:"have"`                  // bytes of the inputs that the peer holds
	Missing uint64        `json:"missing"`               // bytes that it would have to fetch
	Guess   bool          `json:"guess,omitempty"`       // Missing is a guess: the size of the inputs is unknown
	Exact   bool          `json:"exact,omitempty"`       // Have and Missing are exact; otherwise Have is a lower bound and Missing an upper bound
	Queue   time.Duration `json:"queue_ns"`              // until a slot is free
	Fetch   time.Duration `json:"fetch_ns"`              // to fetch what is missing
	Run     time.Duration `json:"run_ns"`                // to run the job
	Slots   int           `json:"slots"`                 // free slots
	Factor  float64       `json:"calibration,omitempty"` // the times of the bid were multiplied by it
	Score   float64       `json:"score,omitempty"`       // seconds; the lowest score wins
	Code    string        `json:"code,omitempty"`        // of a refusal or of a missing answer
	Why     string        `json:"why"`                   // a sentence: the state of this bid and its reason
}

// Skip is a reason why peers were not asked, and those peers.
type Skip struct {
	Code  string   `json:"code,omitempty"`
	Why   string   `json:"why"`
	Count int      `json:"count"`
	Peers []string `json:"peers"` // DIDs of the first few
}

// Award is one award and how it ended.
type Award struct {
	Slot    int           `json:"slot"`    // index of the run, from 0
	Attempt int           `json:"attempt"` // round of asking, from 0
	Peer    string        `json:"peer"`    // DID
	Self    bool          `json:"self,omitempty"`
	Lease   string        `json:"lease"` // hex
	At      time.Time     `json:"at"`
	Claimed time.Duration `json:"claimed_ns"`        // time that the bid claimed
	Took    time.Duration `json:"took_ns,omitempty"` // time from the award to its end
	State   string        `json:"state"`             // open, running, declined, lost, done or closed
	Why     string        `json:"why,omitempty"`
	Result  *RunResult    `json:"result,omitempty"`
}

// Mismatch records that the output which a peer printed differs from an Outcome.
type Mismatch struct {
	Peer    string  `json:"peer"`   // DID
	Stream  string  `json:"stream"` // "stdout" or "stderr"
	Shown   bool    `json:"shown"`  // the output was shown before the difference was found
	Issuer  string  `json:"issuer"` // DID that signed Receipt: Peer, or the next provider when Peer was lost before it had an Outcome
	Outcome cid.Cid `json:"outcome"`
	Receipt cid.Cid `json:"receipt"`
}

// MaxMismatches is the maximum length of Job.Mismatches.
const MaxMismatches = 32

// RunResult is the result of one of several runs of a job.
type RunResult struct {
	Peer    string  `json:"peer"` // DID
	Outcome cid.Cid `json:"outcome"`
	Receipt cid.Cid `json:"receipt,omitzero"`
}

// The values of Request.Where. Any other value is the DID or the peer id of one peer.
const (
	WhereBest    = ""        // the node with the best bid, this node included
	WhereLocal   = "local"   // this node
	WhereNetwork = "network" // any peer, not this node
)

// Bounds of Request.Runs, and of the events that are kept for a job.
const (
	MaxRuns   = 16
	MaxEvents = 512
)

// placed is the part of a Request that constrains where it runs, as JSON.
type placed struct {
	Where    string            `json:"where,omitempty"`
	Need     map[string]string `json:"need,omitempty"`
	Prefer   map[string]string `json:"prefer,omitempty"`
	Runs     int               `json:"runs,omitempty"`
	Priority int               `json:"priority,omitempty"`
	Publish  bool              `json:"publish,omitempty"`
}
