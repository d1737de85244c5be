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
	EventWaiting   EventKind = "waiting"   // nothing can be done for a while
	EventNote      EventKind = "note"      // anything else worth a line
	EventDone      EventKind = "done"      // the last: there is an Outcome
	EventFailed    EventKind = "failed"    // the last: there is none
)

// Last reports whether no event comes after one of this kind.
func (k EventKind) Last() bool { return k == EventDone || k == EventFailed }

// Placement is how it was decided where a job runs: every bid and every refusal.
type Placement struct {
	Bids []Bid  `json:"bids,omitempty"`
	Why  string `json:"why,omitempty"` // a sentence on the last decision
}

// Bid is one peer's answer to one attempt to place a job.
type Bid struct {
	Peer    string        `json:"peer"` // DID
	Self    bool          `json:"self,omitempty"`
	Attempt int           `json:"attempt"`
	Have    int64         `json:"have"` // bytes of the inputs that it holds
	Missing int64         `json:"missing"`
	Exact   bool          `json:"exact"` // both were counted to the end
	Slots   int           `json:"slots"` // free
	RTT     time.Duration `json:"rtt_ns,omitempty"`
	Queue   time.Duration `json:"queue_ns"`
	Fetch   time.Duration `json:"fetch_ns"`
	Run     time.Duration `json:"run_ns"`
	Score   float64       `json:"score"`             // seconds; the least wins
	Refusal string        `json:"refusal,omitempty"` // why it would not run it
	Awarded bool          `json:"awarded,omitempty"`
	Lost    string        `json:"lost,omitempty"` // why it did not finish what it was awarded
}

// Replica is one of several runs of one job.
type Replica struct {
	Peer    string  `json:"peer"` // DID
	Outcome cid.Cid `json:"outcome"`
	Receipt cid.Cid `json:"receipt"`
}

// The values of Request.Where; any other is the DID or the peer id of one peer.
const (
	WhereBest    = ""        // wherever it is done first, this node among others
	WhereLocal   = "local"   // here
	WhereNetwork = "network" // anywhere but here
)

// Bounds of a Request's placement and of the events that are kept of a job.
const (
	MaxReplicas = 16
	MaxEvents   = 512
)

// placed is the part of a Request that says where it may run, as JSON.
type placed struct {
	Where    string            `json:"where,omitempty"`
	Need     map[string]string `json:"need,omitempty"`
	Prefer   map[string]string `json:"prefer,omitempty"`
	Replicas int               `json:"replicas,omitempty"`
	Priority int               `json:"priority,omitempty"`
	Publish  bool              `json:"publish,omitempty"`
}
