package job

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
)

// Receipt is a signed statement of its issuer that a Task evaluates to an Outcome. The claim and
// its signature are separate: to agree is to have equal Outcomes, to trust is a decision about
// issuers.
type Receipt struct {
	Issuer  DID
	Order   cid.Cid   // CID of the envelope of the order that it answers; cid.Undef: none
	Task    cid.Cid   // the Task that was run
	Outcome cid.Cid   // the result
	Lease   []byte    // lease of the award; empty: none
	Issued  int64     // milliseconds since 1970
	Proofs  []cid.Cid // UCAN delegations, empty so far
	Meta    Meta
}

// Meta describes the run itself: everything that may differ between two machines.
type Meta struct {
	Wall, Queue, Fetch int64  // ms: run time, time in the queue, time to fetch inputs
	Fetched            uint64 // bytes of blocks that came from other peers
	Arch               string // "amd64"
	Engine             string // "wazero 1.12.0"
	Version            string // of liftoff
	Replayed           bool   // the Outcome came from the result cache, not from a run
}

// receiptTag is the key of the payload in the envelope.
const receiptTag = "liftoff/rcpt@1"

// Bounds of a Receipt, in bytes; maxProofs in links.
const (
	maxLease  = 64
	maxProofs = 64
	maxWord   = 256
)

// Sign returns the envelope of the receipt. It sets r.Issuer to the did:key of key.
func (r Receipt) Sign(key ed25519.PrivateKey) ([]byte, error) {
	r.Issuer = DIDOf(key.Public().(ed25519.PublicKey))
	return seal(r, key)
}

// DecodeReceipt decodes an envelope strictly and verifies its signature. The error is ErrSignature
// when only the signature is wrong.
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
		if err := checkLink("receipt: link", c); err != nil {
			return err
		}
	}
	switch m := r.Meta; {
	case len(r.Lease) > maxLease:
		return fmt.Errorf("receipt: lease: got %d bytes, want at most %d", len(r.Lease), maxLease)
	case len(r.Proofs) > maxProofs:
		return fmt.Errorf("receipt: got %d proofs, want at most %d", len(r.Proofs), maxProofs)
	case r.Issued < 0 || m.Wall < 0 || m.Queue < 0 || m.Fetch < 0 || int64(m.Fetched) < 0:
		return errors.New("receipt: negative time or number of bytes")
	case len(m.Arch) > maxWord || len(m.Engine) > maxWord || len(m.Version) > maxWord:
		return fmt.Errorf("receipt: arch, engine or version: more than %d bytes", maxWord)
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
