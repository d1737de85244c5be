package job

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
)

// Capacity is the description that a provider publishes of itself, of properties that seldom
// change. It is signed. Peers read it by the CID of its envelope, which every Hint contains.
type Capacity struct {
	Issuer  DID
	Seq     uint64            // increases with each Capacity of the issuer
	Issued  int64             // ms since 1970
	ABIs    []string          // the values of Task.ABI that it runs; empty: it only stores
	Labels  map[string]string // "gpu": "a100"
	OS      string            // "linux"
	Arch    string            // "amd64"
	Version string            // of liftoff
	Rate    uint64            // fuel per second of one slot, measured by the provider; 0: unknown
	Slots   int               // Tasks that run at the same time
	Memory  uint64            // bytes that Tasks may use together
	Disk    uint64            // bytes that blocks of others may take
	Ceiling Limits            // the maximum that one Task may request
	Stores  bool              // it keeps blocks beyond the jobs that need them
}

// Hint is the part of the capacity that changes all the time, in as few bytes as possible: it is
// gossiped. The author of the gossip message is its author.
type Hint struct {
	Capacity cid.Cid // the author's Capacity
	Seq      uint64  // increases with each Hint of the author: ms since 1970
	Slots    int     // free slots
	Memory   int     // bucket of the free bytes, see Bucket and FromBucket
	Queue    int     // bucket of the ms until a slot is free
}

// Bounds of a Capacity and of a Hint.
const (
	MaxCapacity = 8 << 10 // bytes of the envelope
	MaxHint     = 150     // bytes
	MaxSlots    = 1 << 16
	maxABIs     = 16
)

// Sign returns the envelope. It sets c.Issuer to key's did:key.
func (c Capacity) Sign(key ed25519.PrivateKey) ([]byte, error) {
	c.Issuer = DIDOf(key.Public().(ed25519.PublicKey))
	return seal(c, key)
}

// DecodeCapacity decodes an envelope strictly and verifies its signature. The error is ErrSignature
// when only the signature is wrong.
func DecodeCapacity(b []byte) (Capacity, error) { return unseal(b, readCapacity) }

func (c Capacity) form() form {
	return form{name: "capacity", tag: "liftoff/cap@1", max: MaxCapacity}
}
func (c Capacity) issuer() DID { return c.Issuer }

func (c Capacity) fields(m datamodel.MapAssembler) {
	qp.MapEntry(m, "iss", qp.String(string(c.Issuer)))
	qp.MapEntry(m, "seq", qp.Int(int64(c.Seq)))
	qp.MapEntry(m, "iat", qp.Int(c.Issued))
	qp.MapEntry(m, "abis", stringList(c.ABIs))
	qp.MapEntry(m, "labels", stringMap(c.Labels))
	qp.MapEntry(m, "os", qp.String(c.OS))
	qp.MapEntry(m, "arch", qp.String(c.Arch))
	qp.MapEntry(m, "version", qp.String(c.Version))
	qp.MapEntry(m, "rate", qp.Int(int64(c.Rate)))
	qp.MapEntry(m, "slots", qp.Int(int64(c.Slots)))
	qp.MapEntry(m, "mem", qp.Int(int64(c.Memory)))
	qp.MapEntry(m, "disk", qp.Int(int64(c.Disk)))
	qp.MapEntry(m, "lim", limits(c.Ceiling))
	qp.MapEntry(m, "stores", qp.Bool(c.Stores))
}

func readCapacity(r *record) Capacity {
	return Capacity{
		Issuer: DID(r.str("iss")), Seq: r.uint("seq"), Issued: int64(r.uint("iat")), ABIs: r.strs("abis"), Labels: r.strMap("labels"),
		OS: r.str("os"), Arch: r.str("arch"), Version: r.str("version"), Rate: r.uint("rate"), Slots: r.small("slots"),
		Memory: r.uint("mem"), Disk: r.uint("disk"), Ceiling: r.limits("lim"), Stores: r.bool("stores"),
	}
}

func (c Capacity) validate() error {
	if err := checkLabels(c.Labels); err != nil {
		return fmt.Errorf("capacity: %w", err)
	}
	for _, s := range []string{c.OS, c.Arch, c.Version} {
		if err := checkText(s, maxLabel); err != nil {
			return fmt.Errorf("capacity: %w", err)
		}
	}
	if len(c.ABIs) > maxABIs {
		return fmt.Errorf("capacity: got %d ABIs, want at most %d", len(c.ABIs), maxABIs)
	}
	for _, a := range c.ABIs {
		if a == "" || !isWord(a, maxLabel) {
			return fmt.Errorf("capacity: invalid abi %.40q", a)
		}
	}
	for _, n := range []uint64{c.Seq, c.Rate, c.Memory, c.Disk} {
		if n > math.MaxInt64 {
			return fmt.Errorf("capacity: number %d is over 63 bits", n)
		}
	}
	if c.Issued < 0 || c.Slots < 0 || c.Slots > MaxSlots {
		return errors.New("capacity: time of issue or number of slots out of range")
	}
	return checkLimits("capacity", c.Ceiling)
}

// Validate returns an error for the first field of h that the format does not allow.
func (h Hint) Validate() error {
	switch {
	case h.Seq > math.MaxInt64:
		return fmt.Errorf("capacity hint: number %d is over 63 bits", h.Seq)
	case h.Slots < 0 || h.Slots > MaxSlots || h.Memory < 0 || h.Memory > maxBucket || h.Queue < 0 || h.Queue > maxBucket:
		return errors.New("capacity hint: slots, memory or queue out of range")
	}
	return checkLink("capacity hint: capacity", h.Capacity)
}

// Encode returns the canonical bytes of h, or the error of Validate.
func (h Hint) Encode() ([]byte, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	return encodeWithin("capacity hint", buildMap(h.fields), MaxHint)
}

func (h Hint) fields(m datamodel.MapAssembler) {
	qp.MapEntry(m, "v", qp.Int(Version))
	qp.MapEntry(m, "cap", link(h.Capacity))
	qp.MapEntry(m, "seq", qp.Int(int64(h.Seq)))
	qp.MapEntry(m, "slots", qp.Int(int64(h.Slots)))
	qp.MapEntry(m, "mem", qp.Int(int64(h.Memory)))
	qp.MapEntry(m, "queue", qp.Int(int64(h.Queue)))
}

func readHint(r *record) Hint {
	r.version()
	return Hint{
		Capacity: r.link("cap"), Seq: r.uint("seq"), Slots: r.small("slots"), Memory: r.small("mem"), Queue: r.small("queue"),
	}
}

// DecodeHint decodes what Encode returned, and rejects everything else.
func DecodeHint(b []byte) (Hint, error) {
	var h Hint
	err := decodeWithin(b, MaxHint, "capacity hint", func(r *record) { h = readHint(r) })
	if err == nil {
		err = h.Validate()
	}
	if err == nil {
		err = same("capacity hint", b, buildMap(h.fields))
	}
	if err != nil {
		return Hint{}, err
	}
	return h, nil
}

// maxBucket is the bucket of 2^63 - 1.
const maxBucket = 125

// Bucket returns the bucket of v. There are two buckets for each power of two, so that small
// changes of a number do not change what is gossiped: 0 is in bucket 0, 1 in bucket 1, and the next
// buckets start at 2, 3, 4, 6, 8, 12. It rounds down.
func Bucket(v uint64) int {
	v = min(v, math.MaxInt64)
	if v < 2 {
		return int(v)
	}
	e := bits.Len64(v) - 1
	return 2*e + int(v>>(e-1)&1)
}

// FromBucket returns the smallest number in a bucket.
func FromBucket(b int) uint64 {
	if b < 2 {
		return uint64(max(b, 0))
	}
	b = min(b, maxBucket)
	return (2 + uint64(b&1)) << (b/2 - 1)
}
