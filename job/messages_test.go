package job

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"
)

var (
	otherKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	testDID  = DIDOf(testKey.Public().(ed25519.PublicKey))
	otherDID = DIDOf(otherKey.Public().(ed25519.PublicKey))
)

func testOrder() Order {
	return Order{
		Task: CIDOf([]byte("task")), Audience: otherDID, Runs: 1, Attempt: 2, TTL: 60_000, Timeout: 1000,
		Issued: 1_700_000_000_000, Expires: 1_700_000_060_000, Fresh: true, Priority: -1,
		Limits: Limits{Fuel: 1e9, Pages: 16384, Out: 1 << 20, Tmp: 0, Log: 1 << 16},
		Need:   map[string]string{"arch": "amd64"}, Prefer: map[string]string{"zone": "größe"}, Nonce: [16]byte([]byte("0123456789abcdef")),
	}
}

func testBid() Bid {
	return Bid{Order: CIDOf([]byte("job")), Have: 1 << 40, Missing: 7, Exact: true, Queue: 12, Fetch: 3, Run: 400, Slots: 2}
}

func testCapacity() Capacity {
	return Capacity{
		Seq: 3, Issued: 1_700_000_000_000, ABIs: []string{ABILiftoff, ABIWASI}, Labels: map[string]string{"gpu": "none"},
		OS: "linux", Arch: "amd64", Version: "v1", Rate: 1e9, Slots: 2, Memory: 4 << 30, Disk: 64 << 30, Ceiling: DefaultLimits, Stores: true,
	}
}

func testHint() Hint {
	return Hint{Capacity: CIDOf([]byte("capacity")), Seq: 1_700_000_000_001, Slots: 2, Memory: Bucket(4 << 30), Queue: Bucket(250)}
}

func testAnnounce() Announce {
	return Announce{
		Task: CIDOf([]byte("task")), ABI: ABIWASI, Inputs: []cid.Cid{raw("module"), raw("a")}, Bytes: 1 << 30, Limits: Limits{Fuel: 1e9},
		Need: map[string]string{"arch": "amd64"}, Window: 400, Addrs: []string{"/ip4/10.0.0.1/tcp/4017"}, Exclude: []DID{otherDID},
		Issued: 1_700_000_000_000,
	}
}

func testAnswer() Answer {
	return Answer{Announce: CIDOf([]byte("announce")), Hint: testHint(), Addrs: []string{"/ip4/10.0.0.2/udp/4017/quic-v1"}}
}

func testMembership() Membership {
	return Membership{Cluster: testDID, Member: otherDID, Role: RoleAdmin, Issued: 1_700_000_000_000, Expires: 1_707_000_000_000}
}

func testRevocation() Revocation {
	return Revocation{Cluster: testDID, Member: otherDID, Seq: 4, Issued: 1_700_000_000_000}
}

// message is one format, for the tests below.
type message struct {
	encode func() ([]byte, error)
	decode func([]byte) (value any, again func() ([]byte, error), err error)
	want   any  // return value of decode
	signed bool // it has an envelope
	limit  int  // bytes
}

func unsigned[T interface{ Encode() ([]byte, error) }](v T, limit int, decode func([]byte) (T, error)) message {
	return message{v.Encode, func(b []byte) (any, func() ([]byte, error), error) {
		got, err := decode(b)
		return got, got.Encode, err
	}, v, false, limit}
}

func signed[T interface {
	Sign(ed25519.PrivateKey) ([]byte, error)
}](v T, want T, limit int, decode func([]byte) (T, error),
) message {
	return message{func() ([]byte, error) { return v.Sign(testKey) }, func(b []byte) (any, func() ([]byte, error), error) {
		got, err := decode(b)
		return got, func() ([]byte, error) { return got.Sign(testKey) }, err
	}, want, true, limit}
}

func messages() map[string]message {
	j, c, a, m, r := testOrder(), testCapacity(), testAnnounce(), testMembership(), testRevocation()
	j.Issuer, c.Issuer, a.Issuer, m.Issuer, r.Issuer = testDID, testDID, testDID, testDID, testDID
	refusal := testBid()
	refusal.Refusal, refusal.Code = "needs 2 GiB of memory, 1 GiB is free", RefuseMemory
	return map[string]message{
		"order":       signed(testOrder(), j, MaxOrder, DecodeOrder),
		"capacity":    signed(testCapacity(), c, MaxCapacity, DecodeCapacity),
		"announce":    signed(testAnnounce(), a, MaxAnnounce, DecodeAnnounce),
		"membership":  signed(testMembership(), m, MaxMembership, DecodeMembership),
		"revocation":  signed(testRevocation(), r, MaxRevocation, DecodeRevocation),
		"bid":         unsigned(testBid(), MaxBid, DecodeBid),
		"bid-refusal": unsigned(refusal, MaxBid, DecodeBid),
		"hint":        unsigned(testHint(), MaxHint, DecodeHint),
		"answer":      unsigned(testAnswer(), MaxAnswer, DecodeAnswer),
	}
}

func TestMessageVectors(t *testing.T) {
	for name, m := range messages() {
		t.Run(name, func(t *testing.T) {
			b, err := m.encode()
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%x\n%s\n", b, CIDOf(b))
			file := filepath.Join("testdata", name+".hex")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			line, _, _ := strings.Cut(string(want), "\n")
			stored, err := hex.DecodeString(line)
			if err != nil {
				t.Fatal(err)
			}
			back, again, err := m.decode(stored)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(m.want, back, cmp.Comparer(cid.Cid.Equals), cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
			if b, err := again(); err != nil || !bytes.Equal(b, stored) {
				t.Errorf("decodes and encodes to %x, %v", b, err)
			}
			if len(stored) > m.limit {
				t.Errorf("got %d bytes, want at most %d", len(stored), m.limit)
			}
		})
	}
}

// TestMessagesForged changes each byte, truncates everywhere and appends. No variant of a signed
// message is accepted, and no non-canonical encoding of the others.
func TestMessagesForged(t *testing.T) {
	for name, m := range messages() {
		t.Run(name, func(t *testing.T) {
			good, err := m.encode()
			if err != nil {
				t.Fatal(err)
			}
			try := func(b []byte) {
				t.Helper()
				v, again, err := m.decode(b)
				if err != nil {
					return
				}
				if m.signed {
					t.Errorf("%x was accepted as %+v", b, v)
				} else if a, err := again(); err != nil || !bytes.Equal(a, b) {
					t.Errorf("%x decodes and encodes to %x, %v", b, a, err)
				}
			}
			for i := range good {
				for _, flip := range []byte{1, 0x80, 0xff} {
					b := bytes.Clone(good)
					b[i] ^= flip
					try(b)
				}
				if _, _, err := m.decode(good[:i]); err == nil {
					t.Errorf("the first %d bytes were accepted", i)
				}
			}
			if _, _, err := m.decode(append(bytes.Clone(good), 0)); err == nil {
				t.Error("a trailing byte was accepted")
			}
			if _, _, err := m.decode(make([]byte, m.limit+1)); err == nil || !strings.Contains(err.Error(), "at most") {
				t.Errorf("oversized: %v", err)
			}
			if m.signed {
				b := bytes.Replace(good, []byte("ciss"+"\x78\x38"+testDID), []byte("ciss"+"\x78\x38"+otherDID), 1)
				if _, _, err := m.decode(b); bytes.Equal(b, good) || !errors.Is(err, ErrSignature) && name != "membership" {
					t.Errorf("another issuer: %v", err)
				}
			}
		})
	}
}

func TestMessagesValidate(t *testing.T) {
	v0 := cid.NewCidV0(raw("x").Hash())
	long := strings.Repeat("x", maxLabel+1)
	many := map[string]string{}
	for i := range MaxLabels + 1 {
		many[fmt.Sprint(i)] = ""
	}
	sign := func(change func(*Order)) func() ([]byte, error) {
		j := testOrder()
		change(&j)
		return func() ([]byte, error) { return j.Sign(testKey) }
	}
	bid := func(change func(*Bid)) func() ([]byte, error) {
		b := testBid()
		change(&b)
		return b.Encode
	}
	capacity := func(change func(*Capacity)) func() ([]byte, error) {
		c := testCapacity()
		change(&c)
		return func() ([]byte, error) { return c.Sign(testKey) }
	}
	hint := func(change func(*Hint)) func() ([]byte, error) {
		h := testHint()
		change(&h)
		return h.Encode
	}
	announce := func(change func(*Announce)) func() ([]byte, error) {
		a := testAnnounce()
		change(&a)
		return func() ([]byte, error) { return a.Sign(testKey) }
	}
	member := func(change func(*Membership)) func() ([]byte, error) {
		m := testMembership()
		change(&m)
		return func() ([]byte, error) { return m.Sign(testKey) }
	}
	revoke := func(change func(*Revocation)) func() ([]byte, error) {
		r := testRevocation()
		change(&r)
		return func() ([]byte, error) { return r.Sign(testKey) }
	}
	for name, encode := range map[string]func() ([]byte, error){
		"order without task":        sign(func(j *Order) { j.Task = cid.Undef }),
		"order with CIDv0":          sign(func(j *Order) { j.Task = v0 }),
		"order, bad audience":       sign(func(j *Order) { j.Audience = "did:key:z" }),
		"order, no runs":            sign(func(j *Order) { j.Runs = 0 }),
		"order, many runs":          sign(func(j *Order) { j.Runs = MaxRuns + 1 }),
		"order, negative attempt":   sign(func(j *Order) { j.Attempt = -1 }),
		"order, priority":           sign(func(j *Order) { j.Priority = MaxPriority + 1 }),
		"order, negative timeout":   sign(func(j *Order) { j.Timeout = -1 }),
		"order, expires before":     sign(func(j *Order) { j.Expires = j.Issued }),
		"order, expires late":       sign(func(j *Order) { j.Expires = j.Issued + MaxOrderLife + 1 }),
		"order, expires overflow":   sign(func(j *Order) { j.Expires = math.MinInt64 }),
		"order, many labels":        sign(func(j *Order) { j.Need = many }),
		"order, long label":         sign(func(j *Order) { j.Prefer = map[string]string{"a": long} }),
		"order, label with newline": sign(func(j *Order) { j.Prefer = map[string]string{"a": "b\n"} }),
		"order, label not UTF-8":    sign(func(j *Order) { j.Need = map[string]string{"a\xff": "b"} }),
		"order, empty label":        sign(func(j *Order) { j.Need = map[string]string{"": "b"} }),
		"order, many pages":         sign(func(j *Order) { j.Limits.Pages = MaxPages + 1 }),
		"order, large limit":        sign(func(j *Order) { j.Limits.Fuel = 1 << 63 }),
		"order, many proofs":        sign(func(j *Order) { j.Proofs = make([]cid.Cid, maxProofs+1) }),
		"order, undefined proof":    sign(func(j *Order) { j.Proofs = make([]cid.Cid, 1) }),
		"bid without order":         bid(func(b *Bid) { b.Order = cid.Undef }),
		"bid, code without reason":  bid(func(b *Bid) { b.Code = RefuseBusy }),
		"bid, reason without code":  bid(func(b *Bid) { b.Refusal = "busy" }),
		"bid, invalid code":         bid(func(b *Bid) { b.Code, b.Refusal = "No!", "no" }),
		"bid, long reason":          bid(func(b *Bid) { b.Code, b.Refusal = "no", strings.Repeat("x", MaxRefusal+1) }),
		"bid, escape in reason":     bid(func(b *Bid) { b.Code, b.Refusal = "no", "\x1b[2J" }),
		"bid, negative queue":       bid(func(b *Bid) { b.Queue = -1 }),
		"bid, many bytes":           bid(func(b *Bid) { b.Have = 1 << 63 }),
		"bid, many slots":           bid(func(b *Bid) { b.Slots = MaxSlots + 1 }),
		"capacity, bad abi":         capacity(func(c *Capacity) { c.ABIs = []string{"a b"} }),
		"capacity, many ABIs":       capacity(func(c *Capacity) { c.ABIs = make([]string, maxABIs+1) }),
		"capacity, control in os":   capacity(func(c *Capacity) { c.OS = "\x00" }),
		"capacity, large number":    capacity(func(c *Capacity) { c.Rate = 1 << 63 }),
		"capacity, negative slots":  capacity(func(c *Capacity) { c.Slots = -1 }),
		"hint of no capacity":       hint(func(h *Hint) { h.Capacity = cid.Undef }),
		"hint, bucket":              hint(func(h *Hint) { h.Queue = maxBucket + 1 }),
		"hint, slots":               hint(func(h *Hint) { h.Slots = -1 }),
		"announce without task":     announce(func(a *Announce) { a.Task = cid.Undef }),
		"announce, many inputs":     announce(func(a *Announce) { a.Inputs = make([]cid.Cid, MaxAnnounceLinks+1) }),
		"announce, long window":     announce(func(a *Announce) { a.Window = MaxWindow + 1 }),
		"announce, no window":       announce(func(a *Announce) { a.Window = 0 }),
		"announce, many addresses":  announce(func(a *Announce) { a.Addrs = make([]string, MaxAddrs+1) }),
		"announce, odd address":     announce(func(a *Announce) { a.Addrs = []string{"example.com:80"} }),
		"announce, many exclusions": announce(func(a *Announce) { a.Exclude = make([]DID, MaxExclude+1) }),
		"announce, bad exclusion":   announce(func(a *Announce) { a.Exclude = []DID{"x"} }),
		"announce over 4 KiB": announce(func(a *Announce) {
			a.Need = map[string]string{}
			for i := range MaxLabels {
				a.Need[fmt.Sprint(i)] = strings.Repeat("x", maxLabel)
			}
		}),
		"membership, unknown role":  member(func(m *Membership) { m.Role = "root" }),
		"membership, too long":      member(func(m *Membership) { m.Expires = m.Issued + MaxMembershipLife + 1 }),
		"membership, no member":     member(func(m *Membership) { m.Member = "" }),
		"membership, no cluster":    member(func(m *Membership) { m.Cluster = "" }),
		"admin by another":          member(func(m *Membership) { m.Cluster = otherDID }),
		"revocation of the cluster": revoke(func(r *Revocation) { r.Member = r.Cluster }),
		"revocation, seq":           revoke(func(r *Revocation) { r.Seq = 1 << 63 }),
		"revocation, time":          revoke(func(r *Revocation) { r.Issued = -1 }),
	} {
		if b, err := encode(); err == nil {
			t.Errorf("%s: was encoded as %x", name, b)
		}
	}
}

// TestHintIsSmall encodes the largest possible hint.
func TestHintIsSmall(t *testing.T) {
	h := Hint{Capacity: CIDOf(nil), Seq: math.MaxInt64, Slots: MaxSlots, Memory: maxBucket, Queue: maxBucket}
	b, err := h.Encode()
	if err != nil || len(b) > MaxHint {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestBucket(t *testing.T) {
	last := -1
	for _, v := range []uint64{0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 1 << 40, 3 << 39, math.MaxInt64} {
		b := Bucket(v)
		if b <= last || b > maxBucket {
			t.Errorf("Bucket(%d) = %d after %d", v, b, last)
		}
		if got := FromBucket(b); got != v && v != math.MaxInt64 {
			t.Errorf("FromBucket(Bucket(%d)) = %d", v, got)
		}
		last = b
	}
	if Bucket(math.MaxUint64) != maxBucket || Bucket(5) != Bucket(4) || Bucket(7) != Bucket(6) || FromBucket(-1) != 0 || FromBucket(1000) != FromBucket(maxBucket) {
		t.Error("wrong first or last bucket")
	}
}

// FuzzDecodeMessages decodes the bytes as each of the formats.
func FuzzDecodeMessages(f *testing.F) {
	all := messages()
	for _, m := range all {
		b, err := m.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, m := range all {
			v, again, err := m.decode(b)
			if err != nil {
				continue
			}
			if a, err := again(); err != nil || !bytes.Equal(a, b) {
				t.Errorf("%s: %x decodes as %+v and encodes to %x, %v", name, b, v, a, err)
			}
		}
		for _, reopen := range []func([]byte) ([]byte, []byte, error){
			reopener(readOrder), reopener(readCapacity), reopener(readAnnounce),
		} {
			if again, want, err := reopen(b); err == nil && !bytes.Equal(again, want) {
				t.Errorf("%x decodes and encodes to %x", want, again)
			}
		}
	})
}

// reopener decodes envelopes without verifying the signature, so that fuzzing reaches the payload.
func reopener[S statement](read func(*record) S) func([]byte) ([]byte, []byte, error) {
	return func(b []byte) ([]byte, []byte, error) {
		s, sig, err := open(b, read)
		if err != nil {
			return nil, b, err
		}
		again, err := encode("test", envelopeNode(sig, s))
		return again, b, err
	}
}

func BenchmarkDecodeHint(b *testing.B) {
	h, err := testHint().Encode()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := DecodeHint(h); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeOrder(b *testing.B) {
	j, err := testOrder().Sign(testKey)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := DecodeOrder(j); err != nil {
			b.Fatal(err)
		}
	}
}
