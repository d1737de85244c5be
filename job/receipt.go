package job

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
)

// Receipt is its issuer's word that a Task evaluates to an Outcome. Claim and
// attestation are apart: agreement is comparing Outcomes, trust is looking at issuers.
type Receipt struct {
	Issuer  DID
	Order   cid.Cid   // the signed Job that it answers; cid.Undef: nobody's
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

// Bounds of a Receipt, in bytes and links.
const (
	maxLease  = 64
	maxProofs = 64
	maxWord   = 256
)

// Sign returns the receipt's envelope. It sets r.Issuer to key's did:key.
func (r Receipt) Sign(key ed25519.PrivateKey) ([]byte, error) {
	r.Issuer = DIDOf(key.Public().(ed25519.PublicKey))
	return seal(r, key)
}

// DecodeReceipt reads an envelope strictly and checks its signature: the error is
// ErrSignature when only that is wrong.
func DecodeReceipt(b []byte) (Receipt, error) { return unseal(b, readReceipt) }

func readReceipt(p *record) Receipt {
	r := Receipt{
		Issuer: DID(p.str("iss")), Order: p.linkOrNull("order"), Task: p.link("ran"), Outcome: p.link("out"),
		Lease: p.bytes("lease"), Issued: int64(p.uint("iat")), Proofs: p.links("prf"),
	}
	if n := p.field("meta"); n != nil {
		m := p.sub(n)
		r.Meta = Meta{
			Wall: int64(m.uint("wall")), Queue: int64(m.uint("queue")), Fetch: int64(m.uint("fetch")),
			Fetched: m.uint("fetched"), Arch: m.str("arch"), Engine: m.str("engine"), Version: m.str("version"),
			Replayed: m.bool("replayed"),
		}
		m.end()
	}
	return r
}

func (r Receipt) form() form  { return form{name: "receipt", tag: receiptTag, max: maxEncoding} }
func (r Receipt) issuer() DID { return r.Issuer }

func (r Receipt) validate() error {
	links := append([]cid.Cid{r.Task, r.Outcome}, r.Proofs...)
	if r.Order.Defined() {
		links = append(links, r.Order)
	}
	for _, c := range links {
		if err := checkLink("receipt: a link", c); err != nil {
			return err
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

func (r Receipt) fields(m datamodel.MapAssembler) {
	qp.MapEntry(m, "iss", qp.String(string(r.Issuer)))
	qp.MapEntry(m, "order", link(r.Order))
	qp.MapEntry(m, "ran", link(r.Task))
	qp.MapEntry(m, "out", link(r.Outcome))
	qp.MapEntry(m, "lease", qp.Bytes(r.Lease))
	qp.MapEntry(m, "iat", qp.Int(r.Issued))
	qp.MapEntry(m, "prf", links(r.Proofs))
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
}
