package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// VerifyOptions configures a verification.
type VerifyOptions struct {
	Reexec  bool       // run the Task on this node, ignoring cached results, and compare Outcomes
	Limits  job.Limits // of that run; zero: those in the Outcome, else the defaults
	Trusted bool       // as in api.Request
	Watch   api.Watch  // of that run
}

// Level is the strength of the evidence for a Receipt. Higher is stronger.
type Level int

// The levels.
const (
	Unverified Level = iota // its signature is invalid
	Attested                // its issuer signed it
	Agreed                  // receipts of other keys agree
	Reexecuted              // a run on this node had the same Outcome
)

// Answer is the result of a verification and of each of its steps.
type Answer string

// The answers.
const (
	Verified  Answer = "verified"
	Invalid   Answer = "invalid"   // bad signature or encoding
	Mismatch  Answer = "mismatch"  // a different Outcome, or an Outcome of another Task
	Undecided Answer = "undecided" // data is missing, or the question cannot be decided
	Skipped   Answer = "skipped"   // a step that was not requested, or that an earlier step made irrelevant
)

// Step is one step of a verification and its result.
type Step struct {
	Name   string `json:"name"` // "encoding", "signature", "outcome", "output", "reexec", "others"
	Answer Answer `json:"answer"`
	Detail string `json:"detail,omitempty"` // for display; of the output "complete" or "needs block <cid> of an input"
}

// Verdict is the result of a verification.
type Verdict struct {
	CID     cid.Cid     `json:"cid"`             // of the envelope
	Receipt job.Receipt `json:"-"`               // zero unless the signature is good
	Answer  Answer      `json:"answer"`          // of the whole verification
	Level   Level       `json:"level"`           // the level reached
	Agreed  int         `json:"agreed"`          // distinct keys with a receipt in this repo for the same Outcome, including the issuer
	Keys    int         `json:"keys"`            // distinct keys with a receipt in this repo for the Task
	Steps   []Step      `json:"steps"`           // all of them, in order
	Claimed cid.Cid     `json:"claimed"`         // the Receipt's Outcome
	Found   cid.Cid     `json:"found,omitzero"`  // on a mismatch: the Outcome of the run on this node, or of another key
	Proof   []cid.Cid   `json:"proof,omitempty"` // on a mismatch: both receipts, which are kept
}

// VerifyReceipt checks an envelope as far as o and the data in this repo allow. The findings are in the Verdict;
// an error means that the check failed, not the receipt. On a mismatch both receipts are pinned, with Task and
// Outcomes, as "fraud:" and the CID of the checked receipt.
func (s *Session) VerifyReceipt(ctx context.Context, envelope []byte, o VerifyOptions) (Verdict, error) {
	v := verification{s: s, o: o, envelope: envelope}
	v.CID = job.CIDOf(envelope)
	if err := v.run(ctx); err != nil {
		return v.Verdict, err
	}
	v.Steps = []Step{v.encoding, v.signature, v.outcome, v.output, v.reexec, v.others}
	for i, name := range []string{"encoding", "signature", "outcome", "output", "reexec", "others"} {
		v.Steps[i].Name = name
		if v.Steps[i].Answer == "" {
			v.Steps[i].Answer = Skipped
		}
	}
	v.conclude()
	return v.Verdict, v.keepProof(ctx)
}

// verification is a verification in progress.
type verification struct {
	Verdict
	s        *Session
	o        VerifyOptions
	envelope []byte

	encoding, signature, outcome, output, reexec, others Step

	result *job.Outcome // nil: not in this repo
	rival  cid.Cid      // the receipt of a different Outcome
}

func (v *verification) run(ctx context.Context) error {
	r, err := job.DecodeReceipt(v.envelope)
	if err != nil && !errors.Is(err, job.ErrSignature) {
		v.encoding = Step{Answer: Invalid, Detail: err.Error()}
		return nil
	}
	v.encoding.Answer = Verified
	if err != nil {
		v.signature = Step{Answer: Invalid, Detail: err.Error()}
		return nil
	}
	v.Receipt, v.Claimed, v.Level = r, r.Outcome, Attested
	v.signature = Step{Answer: Verified, Detail: string(r.Issuer)}

	if err := v.checkOutcome(ctx); err != nil || v.outcome.Answer == Mismatch {
		return err
	}
	if v.o.Reexec {
		if err := v.checkReexec(ctx); err != nil {
			return err
		}
		if v.reexec.Answer == Verified && v.result == nil { // the run created it
			if err := v.checkOutcome(ctx); err != nil {
				return err
			}
		}
	}
	if err := v.checkOutput(ctx); err != nil {
		return err
	}
	return v.checkOthers(ctx)
}

// conclude derives the overall answer from the steps. A run on this node outweighs all other evidence.
func (v *verification) conclude() {
	if v.Level == Attested && v.Agreed > 1 {
		v.Level = Agreed
	}
	if v.reexec.Answer == Verified {
		v.Level = Reexecuted
	}
	has := func(a Answer, steps ...Step) bool {
		for _, s := range steps {
			if s.Answer == a {
				return true
			}
		}
		return false
	}
	switch {
	case has(Invalid, v.Steps...):
		v.Answer = Invalid
	case has(Mismatch, v.outcome, v.output, v.reexec):
		v.Answer = Mismatch
	case v.reexec.Answer == Verified:
		v.Answer = Verified
	case has(Mismatch, v.others):
		v.Answer = Mismatch
	case has(Undecided, v.Steps...):
		v.Answer = Undecided
	default:
		v.Answer = Verified
	}
	if v.Answer != Mismatch {
		v.Found, v.rival = cid.Undef, cid.Undef
	}
}

// block reads and hashes a block: the store's own trust in its blocks is not enough for a verification.
func (v *verification) block(ctx context.Context, c cid.Cid) ([]byte, error) {
	b, err := v.s.Blocks.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	_, err = dag.CheckBlock(c, b.Data())
	return b.Data(), err
}

// undecidedStep converts an error of block into a step's answer: nil when the check itself failed.
func undecidedStep(ctx context.Context, what string, c cid.Cid, err error) *Step {
	var missing *dag.NotFoundError
	var damaged *dag.DamagedError
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.As(err, &missing):
		return &Step{Answer: Undecided, Detail: fmt.Sprintf("needs %s %s, which is not in this repo", what, c)}
	case errors.As(err, &damaged):
		return &Step{Answer: Undecided, Detail: err.Error()}
	}
	return nil
}

func (v *verification) checkOutcome(ctx context.Context) error {
	b, err := v.block(ctx, v.Claimed)
	if err != nil {
		step := undecidedStep(ctx, "outcome", v.Claimed, err)
		if step == nil {
			return err
		}
		v.outcome = *step
		return nil
	}
	o, err := job.DecodeOutcome(b)
	switch {
	case err != nil:
		v.outcome = Step{Answer: Mismatch, Detail: fmt.Sprintf("%s is not an outcome: %v", v.Claimed, err)}
	case o.Task != v.Receipt.Task:
		v.outcome = Step{Answer: Mismatch, Detail: fmt.Sprintf("the claimed outcome is of another task, %s", o.Task)}
	default:
		v.result, v.outcome = &o, Step{Answer: Verified, Detail: string(o.State)}
	}
	return nil
}

// checkOthers counts the keys with a receipt in this repo for the Task. Replayed receipts do not count: their
// issuers ran nothing.
func (v *verification) checkOthers(ctx context.Context) error {
	all, err := v.s.Receipts.ReceiptsOf(ctx, v.Receipt.Task)
	if err != nil {
		return err
	}
	agree, keys := map[job.DID]bool{}, map[job.DID]bool{}
	if !v.Receipt.Meta.Replayed {
		agree[v.Receipt.Issuer], keys[v.Receipt.Issuer] = true, true
	}
	var other *api.ReceiptInfo
	for _, r := range all {
		if r.Replayed {
			continue
		}
		keys[r.Issuer] = true
		if r.Outcome == v.Claimed {
			agree[r.Issuer] = true
		} else if other == nil {
			other = &r
		}
	}
	v.Agreed, v.Keys = len(agree), len(keys)
	if v.Keys < 2 && other == nil {
		return nil
	}
	v.others = Step{Answer: Verified, Detail: fmt.Sprintf("%d of %d keys", v.Agreed, v.Keys)}
	if other == nil {
		return nil
	}
	comparable, err := v.comparable(ctx, other.Outcome)
	if err != nil || !comparable {
		return err
	}
	v.others.Answer = Mismatch
	v.others.Detail += fmt.Sprintf("; %s says %s", other.Issuer, other.Outcome)
	if !v.o.Reexec {
		v.others.Detail += "; --reexec runs the task again to find out which is right"
	}
	if !v.Found.Defined() {
		v.Found, v.rival = other.Outcome, other.CID
	}
	return nil
}

// comparable reports whether c and the claimed Outcome cannot both be right. They can for a nondeterministic
// task, and where a limit ended one of the runs.
func (v *verification) comparable(ctx context.Context, c cid.Cid) (bool, error) {
	b, err := v.block(ctx, c)
	if err != nil || v.result == nil {
		if err != nil && undecidedStep(ctx, "outcome", c, err) == nil {
			return false, err
		}
		return false, nil
	}
	o, err := job.DecodeOutcome(b)
	if err != nil || o.Task != v.Receipt.Task || o.Limits != nil || v.result.Limits != nil {
		return false, nil
	}
	b, err = v.block(ctx, v.Receipt.Task)
	if err != nil {
		if undecidedStep(ctx, "task", v.Receipt.Task, err) == nil {
			return false, err
		}
		return false, nil // it may be nondet
	}
	t, err := job.DecodeTask(b)
	return err == nil && t.Det != job.DetNone, nil
}

// keepProof keeps two receipts that cannot both be right.
func (v *verification) keepProof(ctx context.Context) error {
	if v.Answer != Mismatch || !v.rival.Defined() {
		return nil
	}
	id, err := v.s.Receipts.AddReceipt(ctx, v.envelope)
	if err != nil {
		return err
	}
	v.Proof = []cid.Cid{id, v.rival}
	p := api.Pin{Name: "fraud:" + id.String(), Opaque: true}
	for _, c := range []cid.Cid{id, v.rival, v.Receipt.Task, v.Claimed, v.Found} {
		p.Roots = append(p.Roots, api.Root{CID: c})
	}
	return v.s.Pins.Pin(ctx, p)
}
