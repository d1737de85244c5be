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

// Order is a requester's signed request to evaluate a Task: the limits, the deadline, the
// constraints on the provider. The requester signs it; the CID of its envelope names the order.
type Order struct {
	Task     cid.Cid
	Limits   Limits            // a zero field is its default
	Issuer   DID               // the requester: the peer at the other end of the stream
	Audience DID               // the provider that is to run it; "": none yet, the order only asks for bids
	Runs     int               // number of providers that are to run it, 1 to MaxRuns
	Attempt  int               // 0 for the first; the same Task is tried again under a new order
	TTL      int64             // ms that the provider keeps the output; 0: until Close
	Timeout  int64             // ms that a run may take; 0: the provider's own limit
	Issued   int64             // ms since 1970
	Expires  int64             // ms since 1970; limits replay; at most MaxOrderLife after Issued
	Fresh    bool              // run the Task, do not answer from the result cache
	Priority int               // -100 to 100, higher first
	Need     map[string]string // labels that the provider must have
	Prefer   map[string]string // labels that the provider should have
	Proofs   []cid.Cid         // UCAN delegations, empty so far
	Nonce    [16]byte          // random: (Issuer, Nonce) is awarded at most once
}

// Bounds of an Order.
const (
	MaxRuns      = 64
	MaxAttempt   = 64
	MaxPriority  = 100
	MaxLabels    = 32
	MaxOrderLife = 24 * 60 * 60 * 1000 // ms from Issued to Expires
	MaxOrder     = 32 << 10            // bytes of the envelope
	maxLabel     = 128                 // bytes of a label's name or value
)

// Sign returns the envelope of the order. It sets o.Issuer to the did:key of key.
func (o Order) Sign(key ed25519.PrivateKey) ([]byte, error) {
	o.Issuer = DIDOf(key.Public().(ed25519.PublicKey))
	return seal(o, key)
}

// DecodeOrder decodes an envelope strictly and verifies its signature. The error is ErrSignature
// when only the signature is wrong. The caller checks expiry and replay.
func DecodeOrder(b []byte) (Order, error) { return unseal(b, readOrder) }

func (o Order) form() form  { return form{name: "order", tag: "liftoff/order@1", max: MaxOrder} }
func (o Order) issuer() DID { return o.Issuer }

func (o Order) fields(m datamodel.MapAssembler) {
	qp.MapEntry(m, "task", link(o.Task))
	qp.MapEntry(m, "lim", limits(o.Limits))
	qp.MapEntry(m, "iss", qp.String(string(o.Issuer)))
	qp.MapEntry(m, "aud", didOrNull(o.Audience))
	qp.MapEntry(m, "runs", qp.Int(int64(o.Runs)))
	qp.MapEntry(m, "attempt", qp.Int(int64(o.Attempt)))
	qp.MapEntry(m, "ttl", qp.Int(o.TTL))
	qp.MapEntry(m, "timeout", qp.Int(o.Timeout))
	qp.MapEntry(m, "iat", qp.Int(o.Issued))
	qp.MapEntry(m, "exp", qp.Int(o.Expires))
	qp.MapEntry(m, "fresh", qp.Bool(o.Fresh))
	qp.MapEntry(m, "prio", qp.Int(int64(o.Priority)))
	qp.MapEntry(m, "need", stringMap(o.Need))
	qp.MapEntry(m, "prefer", stringMap(o.Prefer))
	qp.MapEntry(m, "prf", links(o.Proofs))
	qp.MapEntry(m, "nonce", qp.Bytes(o.Nonce[:]))
}

func readOrder(r *record) Order {
	o := Order{
		Task: r.link("task"), Limits: r.limits("lim"), Issuer: DID(r.str("iss")), Audience: r.didOrNull("aud"),
		Runs: r.small("runs"), Attempt: r.small("attempt"),
		TTL: int64(r.uint("ttl")), Timeout: int64(r.uint("timeout")), Issued: int64(r.uint("iat")), Expires: int64(r.uint("exp")),
		Fresh: r.bool("fresh"), Priority: r.small("prio"), Need: r.strMap("need"), Prefer: r.strMap("prefer"), Proofs: r.links("prf"),
	}
	if n := r.bytes("nonce"); copy(o.Nonce[:], n) != len(o.Nonce) || len(n) != len(o.Nonce) {
		r.fail("order nonce: got %d bytes, want %d", len(n), len(o.Nonce))
	}
	return o
}

func (o Order) validate() error {
	if err := checkLink("order: task", o.Task); err != nil {
		return err
	}
	if o.Audience != "" {
		if _, err := o.Audience.Key(); err != nil {
			return fmt.Errorf("order: audience: %w", err)
		}
	}
	switch {
	case o.Runs < 1 || o.Runs > MaxRuns:
		return fmt.Errorf("order: runs: got %d, want 1 to %d", o.Runs, MaxRuns)
	case o.Attempt < 0 || o.Attempt > MaxAttempt:
		return fmt.Errorf("order: attempt: got %d, want at most %d", o.Attempt, MaxAttempt)
	case o.Priority < -MaxPriority || o.Priority > MaxPriority:
		return fmt.Errorf("order: priority: got %d, want %d to %d", o.Priority, -MaxPriority, MaxPriority)
	case o.TTL < 0 || o.Timeout < 0 || o.Issued < 0:
		return errors.New("order: negative TTL, timeout or time of issue")
	case o.Expires <= o.Issued || o.Expires-o.Issued > MaxOrderLife:
		return fmt.Errorf("order: lifetime: got %d ms, want 1 to %d", o.Expires-o.Issued, MaxOrderLife)
	case len(o.Proofs) > maxProofs:
		return fmt.Errorf("order: got %d proofs, want at most %d", len(o.Proofs), maxProofs)
	}
	for _, p := range o.Proofs {
		if err := checkLink("order: proof", p); err != nil {
			return err
		}
	}
	if err := checkLabels(o.Need); err != nil {
		return fmt.Errorf("order: need: %w", err)
	}
	if err := checkLabels(o.Prefer); err != nil {
		return fmt.Errorf("order: prefer: %w", err)
	}
	return checkLimits("order", o.Limits)
}

// NeedsRun reports whether only a run can answer the order: a cached result would not confirm an
// earlier run.
func (o Order) NeedsRun() bool { return o.Fresh || o.Runs > 1 }

func checkLimits(what string, l Limits) error {
	for _, n := range []uint64{l.Fuel, l.Pages, l.Out, l.Tmp, l.Log} {
		if n > math.MaxInt64 {
			return fmt.Errorf("%s: limit %d is over 63 bits", what, n)
		}
	}
	if l.Pages > MaxPages {
		return fmt.Errorf("%s: memory limit: got %d pages, want at most %d", what, l.Pages, MaxPages)
	}
	return nil
}

// checkLabels accepts at most MaxLabels labels with short names and values.
func checkLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return fmt.Errorf("labels: got %d, want at most %d", len(labels), MaxLabels)
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k == "" {
			return errors.New("label without a name")
		}
		for _, s := range []string{k, labels[k]} {
			if err := checkText(s, maxLabel); err != nil {
				return fmt.Errorf("label %.40q: %w", k, err)
			}
		}
	}
	return nil
}

// checkText accepts UTF-8 of at most limit bytes without control characters, so that it can be
// displayed unchanged.
func checkText(s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("text: got %d bytes, want at most %d", len(s), limit)
	}
	if !utf8.ValidString(s) {
		return errors.New("text is not UTF-8")
	}
	for _, c := range s {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return fmt.Errorf("text contains the control character %U", c)
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
