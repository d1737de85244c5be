package job

import (
	"errors"
	"fmt"
	"math"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
)

// Bid is a provider's answer to an Ask: what it holds and how long it would take, or why it
// refuses. It is cheap to make, not binding, and not signed: the stream identifies the provider.
type Bid struct {
	Order   cid.Cid // CID of the envelope of the order
	Have    uint64  // bytes of the inputs below their paths that the provider holds
	Missing uint64  // bytes that would have to be fetched
	Exact   bool    // Have and Missing are exact; otherwise Have is a lower and Missing an upper bound
	Queue   int64   // ms until a slot is free
	Fetch   int64   // ms to fetch what is missing
	Run     int64   // ms to run; 0: unknown
	Slots   int     // free slots
	Refusal string  // reason of a refusal, a sentence for display; "" in a bid
	Code    string  // a Refuse constant in a refusal, "" in a bid
}

// The values of Bid.Code, append-only. A reader treats an unknown value like any other refusal.
const (
	RefuseInvalid = "invalid" // the Ask violates the protocol
	RefusePolicy  = "policy"  // the requester may not use this peer
	RefuseRate    = "rate"    // too many asks from this requester
	RefuseExpired = "expired" // the order has expired, or the clocks differ too much
	RefuseReplay  = "replay"  // the order was awarded before
	RefuseRole    = "role"    // the peer only stores
	RefuseEngine  = "engine"  // it has no executor for the Task
	RefuseLabels  = "labels"  // it lacks a required label
	RefuseLimits  = "limits"  // the limits are above its ceilings
	RefuseMemory  = "memory"  // too little memory is free
	RefuseDisk    = "disk"    // too little disk is free
	RefuseBusy    = "busy"    // no slot, and its queue is full
	RefuseClosing = "closing" // it is shutting down
	RefuseFault   = "fault"   // any other fault of the provider
)

// Bounds of a Bid, in bytes.
const (
	MaxBid     = 2 << 10
	MaxRefusal = 512
	maxCode    = 32
)

// Refuses reports whether b is a refusal.
func (b Bid) Refuses() bool { return b.Code != "" }

// Validate returns an error for the first field of b that the format does not allow.
func (b Bid) Validate() error {
	if err := checkLink("bid: order", b.Order); err != nil {
		return err
	}
	if err := checkText(b.Refusal, MaxRefusal); err != nil {
		return fmt.Errorf("bid: refusal: %w", err)
	}
	switch {
	case (b.Refusal == "") != (b.Code == ""):
		return errors.New("bid: a refusal needs both a code and a reason")
	case !isWord(b.Code, maxCode):
		return fmt.Errorf("bid: invalid refusal code %.40q", b.Code)
	case b.Have > math.MaxInt64 || b.Missing > math.MaxInt64:
		return errors.New("bid: number of bytes over 63 bits")
	case b.Queue < 0 || b.Fetch < 0 || b.Run < 0 || b.Slots < 0 || b.Slots > MaxSlots:
		return errors.New("bid: negative duration, or number of slots out of range")
	}
	return nil
}

// isWord reports whether s consists of at most limit characters of a-z, 0-9, '_' and '-'.
func isWord(s string, limit int) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return len(s) <= limit
}

// Encode returns the canonical bytes of b, or the error of Validate.
func (b Bid) Encode() ([]byte, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	return encodeWithin("bid", b.node(), MaxBid)
}

func (b Bid) node() datamodel.Node {
	return buildMap(func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "v", qp.Int(Version))
		qp.MapEntry(m, "order", link(b.Order))
		qp.MapEntry(m, "have", qp.Int(int64(b.Have)))
		qp.MapEntry(m, "missing", qp.Int(int64(b.Missing)))
		qp.MapEntry(m, "exact", qp.Bool(b.Exact))
		qp.MapEntry(m, "queue", qp.Int(b.Queue))
		qp.MapEntry(m, "fetch", qp.Int(b.Fetch))
		qp.MapEntry(m, "run", qp.Int(b.Run))
		qp.MapEntry(m, "slots", qp.Int(int64(b.Slots)))
		qp.MapEntry(m, "refusal", qp.String(b.Refusal))
		qp.MapEntry(m, "code", qp.String(b.Code))
	})
}

// DecodeBid decodes what Encode returned, and rejects everything else.
func DecodeBid(data []byte) (Bid, error) {
	var b Bid
	err := decodeWithin(data, MaxBid, "bid", func(r *record) {
		r.version()
		b = Bid{
			Order: r.link("order"), Have: r.uint("have"), Missing: r.uint("missing"), Exact: r.bool("exact"),
			Queue: int64(r.uint("queue")), Fetch: int64(r.uint("fetch")), Run: int64(r.uint("run")),
			Slots: r.small("slots"), Refusal: r.str("refusal"), Code: r.str("code"),
		}
	})
	if err == nil {
		err = b.Validate()
	}
	if err == nil {
		err = same("bid", data, b.node())
	}
	if err != nil {
		return Bid{}, err
	}
	return b, nil
}
