package job

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	"github.com/ipld/go-ipld-prime/node/basicnode"
)

// Receipt is its issuer's word that a Task evaluates to an Outcome. Claim and
// attestation are apart: agreement is comparing Outcomes, trust is looking at issuers.
type Receipt struct {
	Issuer  DID
	Job     cid.Cid   // the signed Job that it answers; cid.Undef: nobody's
	Task    cid.Cid   // what was run
	Outcome cid.Cid   // what came of it
	Lease   []byte    // of the award; empty: none
	Issued  int64     // milliseconds since 1970
	Proofs  []cid.Cid // UCAN delegations, empty so far
	Meta    Meta
}

// Meta is what a run was like here: all that may differ between two machines.
type Meta struct {
	Wall, Queue, Fetch int64  // milliseconds
	Fetched            uint64 // bytes of blocks that came from elsewhere
	Arch               string // "amd64"
	Engine             string // "wazero 1.12.0"
	Version            string // of liftoff
	Replayed           bool   // the Outcome came from memory, not from a run
}

// receiptTag names the payload in the envelope.
const receiptTag = "liftoff/rcpt@1"

// varsigEd25519 is the Varsig v1 header for Ed25519 over DAG-CBOR: the prefix 0x34,
// version 1, EdDSA, curve ed25519, hash sha2-512, payload dag-cbor.
var varsigEd25519 = []byte{0x34, 0x01, 0xed, 0x01, 0xed, 0x01, 0x13, 0x71}

// ErrSignature says that a signature is not its issuer's.
var ErrSignature = errors.New("bad signature")

// Bounds of a Receipt, in bytes and links.
const (
	maxLease  = 64
	maxProofs = 64
	maxWord   = 256
)

// Sign returns the receipt's envelope: [signature, {"h": header, "liftoff/rcpt@1":
// payload}], the shape of UCAN 1.0. It sets r.Issuer to key's did:key.
func (r Receipt) Sign(key ed25519.PrivateKey) ([]byte, error) {
	r.Issuer = DIDOf(key.Public().(ed25519.PublicKey))
	if err := r.validate(); err != nil {
		return nil, err
	}
	signed, err := encode(r.signedNode())
	if err != nil {
		return nil, err
	}
	return encode(envelopeNode(ed25519.Sign(key, signed), r.signedNode()))
}

// DecodeReceipt reads an envelope strictly and checks its signature: the error is
// ErrSignature when only that is wrong.
func DecodeReceipt(b []byte) (Receipt, error) {
	r, sig, err := decodeEnvelope(b)
	if err != nil {
		return Receipt{}, fmt.Errorf("decode receipt: %w", err)
	}
	pub, err := r.Issuer.Key()
	if err != nil {
		return Receipt{}, fmt.Errorf("decode receipt: %w", err)
	}
	signed, err := encode(r.signedNode())
	if err != nil {
		return Receipt{}, err
	}
	if !ed25519.Verify(pub, signed, sig) {
		return Receipt{}, fmt.Errorf("receipt of %s: %w", r.Issuer, ErrSignature)
	}
	return r, nil
}

func decodeEnvelope(b []byte) (r Receipt, sig []byte, err error) {
	if len(b) > maxEncoding {
		return r, nil, fmt.Errorf("%d bytes, at most %d", len(b), maxEncoding)
	}
	nb := basicnode.Prototype.Any.NewBuilder()
	opts := dagcbor.DecodeOptions{AllowLinks: true, AllocationBudget: 16 * maxEncoding, MaxDepth: 8}
	if err := opts.Decode(nb, bytes.NewReader(b)); err != nil {
		return r, nil, err
	}
	n := nb.Build()
	if n.Kind() != datamodel.Kind_List || n.Length() != 2 {
		return r, nil, errors.New("not a list of signature and payload")
	}
	first, _ := n.LookupByIndex(0) // both are there
	second, _ := n.LookupByIndex(1)
	if sig, err = first.AsBytes(); err != nil || len(sig) != ed25519.SignatureSize {
		return r, nil, errors.New("no Ed25519 signature")
	}
	rec := &record{err: &err}
	rec = rec.sub(second)
	if h := rec.bytes("h"); err == nil && !bytes.Equal(h, varsigEd25519) {
		rec.fail("signature header %x, want %x", h, varsigEd25519)
	}
	if p := rec.field(receiptTag); p != nil {
		r = readReceipt(rec.sub(p))
	}
	rec.end()
	if err == nil {
		err = r.validate()
	}
	if err == nil {
		err = same(b, envelopeNode(sig, r.signedNode()))
	}
	return r, sig, err
}

func readReceipt(p *record) Receipt {
	r := Receipt{
		Issuer: DID(p.str("iss")), Job: p.linkOrNull("job"), Task: p.link("ran"), Outcome: p.link("out"),
		Lease: p.bytes("lease"), Issued: int64(p.uint("iat")),
	}
	p.list("prf", func(n datamodel.Node) { r.Proofs = append(r.Proofs, p.asLink("prf", n)) })
	if n := p.field("meta"); n != nil {
		m := p.sub(n)
		r.Meta = Meta{
			Wall: int64(m.uint("wall")), Queue: int64(m.uint("queue")), Fetch: int64(m.uint("fetch")),
			Fetched: m.uint("fetched"), Arch: m.str("arch"), Engine: m.str("engine"), Version: m.str("version"),
			Replayed: typed(m, "replayed", m.field("replayed"), datamodel.Node.AsBool),
		}
		m.end()
	}
	p.end()
	return r
}

func (r Receipt) validate() error {
	if _, err := r.Issuer.Key(); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	links := append([]cid.Cid{r.Task, r.Outcome}, r.Proofs...)
	if r.Job.Defined() {
		links = append(links, r.Job)
	}
	for _, c := range links {
		if err := checkLink("a link", c); err != nil {
			return fmt.Errorf("receipt: %w", err)
		}
	}
	switch m := r.Meta; {
	case len(r.Lease) > maxLease:
		return fmt.Errorf("receipt: lease of %d bytes, at most %d", len(r.Lease), maxLease)
	case len(r.Proofs) > maxProofs:
		return fmt.Errorf("receipt: %d proofs, at most %d", len(r.Proofs), maxProofs)
	case r.Issued < 0 || m.Wall < 0 || m.Queue < 0 || m.Fetch < 0 || int64(m.Fetched) < 0:
		return errors.New("receipt: a negative number")
	case len(m.Arch) > maxWord || len(m.Engine) > maxWord || len(m.Version) > maxWord:
		return fmt.Errorf("receipt: a word of over %d bytes", maxWord)
	}
	return nil
}

func envelopeNode(sig []byte, signed datamodel.Node) datamodel.Node {
	n, err := qp.BuildList(basicnode.Prototype.Any, 2, func(l datamodel.ListAssembler) {
		qp.ListEntry(l, qp.Bytes(sig))
		qp.ListEntry(l, qp.Node(signed))
	})
	if err != nil {
		panic(err) // basicnode takes any two values
	}
	return n
}

// signedNode is what the signature covers.
func (r Receipt) signedNode() datamodel.Node {
	return buildMap(func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "h", qp.Bytes(varsigEd25519))
		qp.MapEntry(m, receiptTag, qp.Map(8, func(m datamodel.MapAssembler) {
			qp.MapEntry(m, "iss", qp.String(string(r.Issuer)))
			qp.MapEntry(m, "job", link(r.Job))
			qp.MapEntry(m, "ran", link(r.Task))
			qp.MapEntry(m, "out", link(r.Outcome))
			qp.MapEntry(m, "lease", qp.Bytes(r.Lease))
			qp.MapEntry(m, "iat", qp.Int(r.Issued))
			qp.MapEntry(m, "prf", qp.List(int64(len(r.Proofs)), func(l datamodel.ListAssembler) {
				for _, p := range r.Proofs {
					qp.ListEntry(l, link(p))
				}
			}))
			qp.MapEntry(m, "meta", qp.Map(8, func(m datamodel.MapAssembler) {
				qp.MapEntry(m, "wall", qp.Int(r.Meta.Wall))
				qp.MapEntry(m, "queue", qp.Int(r.Meta.Queue))
				qp.MapEntry(m, "fetch", qp.Int(r.Meta.Fetch))
				qp.MapEntry(m, "fetched", qp.Int(int64(r.Meta.Fetched)))
				qp.MapEntry(m, "arch", qp.String(r.Meta.Arch))
				qp.MapEntry(m, "engine", qp.String(r.Meta.Engine))
				qp.MapEntry(m, "version", qp.String(r.Meta.Version))
				qp.MapEntry(m, "replayed", qp.Bool(r.Meta.Replayed))
			}))
		}))
	})
}
