package job

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
)

// Job is a request to evaluate a Task: who asks, within which limits, how soon. It is
// signed by who asks; the CID of its envelope is the Job's name.
type Order struct {
	Task     cid.Cid
	Limits   Limits            // a zero field is its default
	Issuer   DID               // who asks: the peer at the stream's other end
	Audience DID               // who shall run it; "": nobody yet, it only asks for bids
	Runs     int               // how many peers shall run it, 1 to MaxRuns
	Attempt  int               // 0 for the first; the same Task is tried again under a new Job
	TTL      int64             // ms that the provider keeps the output; 0: until Close
	Timeout  int64             // ms that a run may take; 0: the provider's own bound
	Issued   int64             // ms since 1970
	Expires  int64             // ms since 1970; bounds replay, at most MaxJobLife after Issued
	Fresh    bool              // it shall be run, and not answered from a run before
	Priority int               // -100 to 100, larger first
	Need     map[string]string // labels that the provider must have
	Prefer   map[string]string // labels that it had better have
	Proofs   []cid.Cid         // UCAN delegations, empty so far
	Nonce    [16]byte          // random: (Issuer, Nonce) is awarded at most once
}

// Bounds of a Job.
const (
	MaxRuns      = 64
	MaxAttempt   = 64
	MaxPriority  = 100
	MaxLabels    = 32
	MaxOrderLife = 24 * 60 * 60 * 1000 // ms from Issued to Expires
	MaxOrder     = 32 << 10            // bytes of the envelope
	maxLabel     = 128                 // bytes of a label's name or value
)

// Sign returns the Job's envelope. It sets j.Issuer to key's did:key.
func (j Order) Sign(key ed25519.PrivateKey) ([]byte, error) {
	j.Issuer = DIDOf(key.Public().(ed25519.PublicKey))
	return seal(j, key)
}

// DecodeJob reads an envelope strictly and checks its signature: the error is
// ErrSignature when only that is wrong. Whether it has expired, or was seen before, is
// for the reader to say.
func DecodeOrder(b []byte) (Order, error) { return unseal(b, readOrder) }

func (j Order) form() form  { return form{name: "order", tag: "liftoff/order@1", max: MaxOrder} }
func (j Order) issuer() DID { return j.Issuer }

func (j Order) fields(m datamodel.MapAssembler) {
	qp.MapEntry(m, "task", link(j.Task))
	qp.MapEntry(m, "lim", limits(j.Limits))
	qp.MapEntry(m, "iss", qp.String(string(j.Issuer)))
	qp.MapEntry(m, "aud", didOrNull(j.Audience))
	qp.MapEntry(m, "runs", qp.Int(int64(j.Runs)))
	qp.MapEntry(m, "attempt", qp.Int(int64(j.Attempt)))
	qp.MapEntry(m, "ttl", qp.Int(j.TTL))
	qp.MapEntry(m, "timeout", qp.Int(j.Timeout))
	qp.MapEntry(m, "iat", qp.Int(j.Issued))
	qp.MapEntry(m, "exp", qp.Int(j.Expires))
	qp.MapEntry(m, "fresh", qp.Bool(j.Fresh))
	qp.MapEntry(m, "prio", qp.Int(int64(j.Priority)))
	qp.MapEntry(m, "need", stringMap(j.Need))
	qp.MapEntry(m, "prefer", stringMap(j.Prefer))
	qp.MapEntry(m, "prf", links(j.Proofs))
	qp.MapEntry(m, "nonce", qp.Bytes(j.Nonce[:]))
}

func readOrder(r *record) Order {
	j := Order{
		Task: r.link("task"), Limits: r.limits("lim"), Issuer: DID(r.str("iss")), Audience: r.didOrNull("aud"),
		Runs: r.small("runs"), Attempt: r.small("attempt"),
		TTL: int64(r.uint("ttl")), Timeout: int64(r.uint("timeout")), Issued: int64(r.uint("iat")), Expires: int64(r.uint("exp")),
		Fresh: r.bool("fresh"), Priority: r.small("prio"), Need: r.strMap("need"), Prefer: r.strMap("prefer"), Proofs: r.links("prf"),
	}
	if n := r.bytes("nonce"); copy(j.Nonce[:], n) != len(j.Nonce) || len(n) != len(j.Nonce) {
		r.fail("nonce of %d bytes, want %d", len(n), len(j.Nonce))
	}
	return j
}

func (j Order) validate() error {
	if err := checkLink("order: task", j.Task); err != nil {
		return err
	}
	if j.Audience != "" {
		if _, err := j.Audience.Key(); err != nil {
			return fmt.Errorf("order: audience: %w", err)
		}
	}
	switch {
	case j.Runs < 1 || j.Runs > MaxRuns:
		return fmt.Errorf("order: %d runs, want 1 to %d", j.Runs, MaxRuns)
	case j.Attempt < 0 || j.Attempt > MaxAttempt:
		return fmt.Errorf("order: attempt %d, at most %d", j.Attempt, MaxAttempt)
	case j.Priority < -MaxPriority || j.Priority > MaxPriority:
		return fmt.Errorf("order: priority %d, want %d to %d", j.Priority, -MaxPriority, MaxPriority)
	case j.TTL < 0 || j.Timeout < 0 || j.Issued < 0:
		return errors.New("order: a negative time")
	case j.Expires <= j.Issued || j.Expires-j.Issued > MaxOrderLife:
		return fmt.Errorf("order: expires %d ms after it was issued, want 1 to %d", j.Expires-j.Issued, MaxOrderLife)
	case len(j.Proofs) > maxProofs:
		return fmt.Errorf("order: %d proofs, at most %d", len(j.Proofs), maxProofs)
	}
	for _, p := range j.Proofs {
		if err := checkLink("order: a proof", p); err != nil {
			return err
		}
	}
	if err := checkLabels(j.Need); err != nil {
		return fmt.Errorf("order: need: %w", err)
	}
	if err := checkLabels(j.Prefer); err != nil {
		return fmt.Errorf("order: prefer: %w", err)
	}
	return checkLimits("order", j.Limits)
}

// Runs reports whether the Job is answered by a run alone: a run that repeats what it
// found out before would confirm nothing.
func (j Order) NeedsRun() bool { return j.Fresh || j.Runs > 1 }

func checkLimits(what string, l Limits) error {
	for _, n := range []uint64{l.Fuel, l.Pages, l.Out, l.Tmp, l.Log} {
		if n > math.MaxInt64 {
			return fmt.Errorf("%s: the limit %d is over 63 bits", what, n)
		}
	}
	if l.Pages > MaxPages {
		return fmt.Errorf("%s: a limit of %d pages, at most %d", what, l.Pages, MaxPages)
	}
	return nil
}

// checkLabels accepts at most MaxLabels short words by name.
func checkLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return fmt.Errorf("%d labels, at most %d", len(labels), MaxLabels)
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k == "" {
			return errors.New("a label has no name")
		}
		for _, s := range []string{k, labels[k]} {
			if err := checkText(s, maxLabel); err != nil {
				return fmt.Errorf("label %.40q: %w", k, err)
			}
		}
	}
	return nil
}

// checkText accepts UTF-8 of at most limit bytes without control characters, so that
// it can be shown to people as it is.
func checkText(s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%d bytes of text, at most %d", len(s), limit)
	}
	if !utf8.ValidString(s) {
		return errors.New("text that is not UTF-8")
	}
	for _, c := range s {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return fmt.Errorf("the control character %U in text", c)
		}
	}
	return nil
}

func didOrNull(d DID) qp.Assemble {
	if d == "" {
		return qp.Null()
	}
	return qp.String(string(d))
}
