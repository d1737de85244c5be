package node

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// VerifyOptions says how far a verification goes.
type VerifyOptions struct {
	Reexec  bool       // run the Task here, whatever is remembered, and compare Outcomes
	Limits  job.Limits // of that run; those of the Outcome when it has some
	Trusted bool       // as in api.Request
	Watch   api.Watch  // of that run
}

// Level is how good the evidence for a Receipt is. Higher is better.
type Level int

// The levels.
const (
	Unverified Level = iota // not even its signature holds
	Attested                // its issuer has said so
	Agreed                  // other keys have said so, too
	Reexecuted              // it was run here, with the same Outcome
)

// Answer is what a verification comes to.
type Answer string

// The answers. Those of a Step are Verified, Mismatch and Undecided, and Skipped for one
// that was not asked for or that an earlier one made pointless.
const (
	Verified  Answer = "verified"
	Invalid   Answer = "invalid"   // bad signature or encoding
	Mismatch  Answer = "mismatch"  // another Outcome, or one of another Task
	Undecided Answer = "undecided" // something is not here, or cannot be decided at all
	Skipped   Answer = "skipped"
)

// Step is one step of a verification and what came of it.
type Step struct {
	Name   string `json:"name"` // "encoding", "signature", "outcome", "output", "reexec", "others"
	Answer Answer `json:"answer"`
	Detail string `json:"detail,omitempty"` // for people; "complete" or "needs input <cid>" of the output
}

// Verdict is the result of a verification.
type Verdict struct {
	CID     cid.Cid     `json:"cid"`             // of the envelope
	Receipt job.Receipt `json:"-"`               // zero when the encoding is bad
	Answer  Answer      `json:"answer"`          // of the whole
	Level   Level       `json:"level"`           // reached
	Agreed  int         `json:"agreed"`          // distinct keys here that name the same Outcome, the issuer among them
	Keys    int         `json:"keys"`            // distinct keys here with a receipt for the Task
	Steps   []Step      `json:"steps"`           // all of them, in order
	Claimed cid.Cid     `json:"claimed"`         // the Receipt's Outcome
	Found   cid.Cid     `json:"found,omitzero"`  // the Outcome that a run here, or another key, came to, on a mismatch
	Proof   []cid.Cid   `json:"proof,omitempty"` // on a mismatch: both receipts, kept
}

// VerifyReceipt checks an envelope as far as o and what is here allow.
func (s *Session) VerifyReceipt(ctx context.Context, envelope []byte, o VerifyOptions) (Verdict, error) {
	return Verdict{CID: job.CIDOf(envelope), Answer: Undecided}, nil
}
