package job

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
)

// Announce tells unknown peers that a job looks for a provider. It is gossiped, signed, and not
// binding. A peer that would bid answers with an Answer; then the requester opens a stream and asks
// it.
type Announce struct {
	Issuer  DID
	Task    cid.Cid
	ABI     string            // Task.ABI
	Inputs  []cid.Cid         // the first MaxAnnounceLinks of module and inputs
	Bytes   uint64            // of all inputs; 0: unknown
	Limits  Limits            // a zero field is its default
	Need    map[string]string // labels that the provider must have
	Window  int64             // ms until the requester stops waiting for answers, at most MaxWindow
	Addrs   []string          // multiaddrs of the requester, without its peer id
	Exclude []DID             // peers that should not answer
	Issued  int64             // ms since 1970
}

// Answer is gossiped by a peer that would bid for an announced job.
type Answer struct {
	Announce cid.Cid // CID of the envelope of the Announce
	Hint     Hint
	Addrs    []string // multiaddrs of the author, without its peer id
}

// Bounds of an Announce and an Answer.
const (
	MaxAnnounce      = 4 << 10 // bytes of the envelope
	MaxAnswer        = 1 << 10 // bytes
	MaxAnnounceLinks = 16
	MaxExclude       = 16
	MaxAddrs         = 8
	MaxAddr          = 128  // bytes of a multiaddr's text
	MaxWindow        = 2000 // ms
)

// Sign returns the envelope. It sets a.Issuer to key's did:key.
func (a Announce) Sign(key ed25519.PrivateKey) ([]byte, error) {
	a.Issuer = DIDOf(key.Public().(ed25519.PublicKey))
	return seal(a, key)
}

// DecodeAnnounce decodes an envelope strictly and verifies its signature. The error is ErrSignature
// when only the signature is wrong.
func DecodeAnnounce(b []byte) (Announce, error) { return unseal(b, readAnnounce) }

func (a Announce) form() form {
	return form{name: "announce", tag: "liftoff/announce@1", max: MaxAnnounce}
}
func (a Announce) issuer() DID { return a.Issuer }

func (a Announce) fields(m datamodel.MapAssembler) {
	qp.MapEntry(m, "iss", qp.String(string(a.Issuer)))
	qp.MapEntry(m, "task", link(a.Task))
	qp.MapEntry(m, "abi", qp.String(a.ABI))
	qp.MapEntry(m, "in", links(a.Inputs))
	qp.MapEntry(m, "bytes", qp.Int(int64(a.Bytes)))
	qp.MapEntry(m, "lim", limits(a.Limits))
	qp.MapEntry(m, "need", stringMap(a.Need))
	qp.MapEntry(m, "window", qp.Int(a.Window))
	qp.MapEntry(m, "addrs", stringList(a.Addrs))
	qp.MapEntry(m, "exclude", stringList(a.Exclude))
	qp.MapEntry(m, "iat", qp.Int(a.Issued))
}

func readAnnounce(r *record) Announce {
	return Announce{
		Issuer: DID(r.str("iss")), Task: r.link("task"), ABI: r.str("abi"), Inputs: r.links("in"), Bytes: r.uint("bytes"),
		Limits: r.limits("lim"), Need: r.strMap("need"), Window: int64(r.uint("window")), Addrs: r.strs("addrs"),
		Exclude: r.dids("exclude"), Issued: int64(r.uint("iat")),
	}
}

func (a Announce) validate() error {
	if err := checkLink("announce: task", a.Task); err != nil {
		return err
	}
	switch {
	case a.ABI == "" || !isWord(a.ABI, maxLabel):
		return fmt.Errorf("announce: invalid abi %.40q", a.ABI)
	case len(a.Inputs) > MaxAnnounceLinks:
		return fmt.Errorf("announce: got %d inputs, want at most %d", len(a.Inputs), MaxAnnounceLinks)
	case len(a.Exclude) > MaxExclude:
		return fmt.Errorf("announce: got %d exclusions, want at most %d", len(a.Exclude), MaxExclude)
	case a.Window < 1 || a.Window > MaxWindow:
		return fmt.Errorf("announce: window: got %d ms, want 1 to %d", a.Window, MaxWindow)
	case a.Issued < 0 || a.Bytes > math.MaxInt64:
		return errors.New("announce: number of bytes or time of issue out of range")
	}
	for _, c := range a.Inputs {
		if err := checkLink("announce: input", c); err != nil {
			return err
		}
	}
	for _, d := range a.Exclude {
		if _, err := d.Key(); err != nil {
			return fmt.Errorf("announce: exclude: %w", err)
		}
	}
	if err := checkLabels(a.Need); err != nil {
		return fmt.Errorf("announce: need: %w", err)
	}
	if err := checkAddrs(a.Addrs); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return checkLimits("announce", a.Limits)
}

// checkAddrs checks the number and the length of multiaddrs. It leaves their syntax to the dialer.
func checkAddrs(addrs []string) error {
	if len(addrs) > MaxAddrs {
		return fmt.Errorf("peer addresses: got %d, want at most %d", len(addrs), MaxAddrs)
	}
	for _, a := range addrs {
		if err := checkText(a, MaxAddr); err != nil {
			return fmt.Errorf("peer address: %w", err)
		}
		if !strings.HasPrefix(a, "/") {
			return fmt.Errorf("%.40q is not a multiaddr", a)
		}
	}
	return nil
}

// Validate returns an error for the first field of a that the format does not allow.
func (a Answer) Validate() error {
	if err := checkLink("answer: announce", a.Announce); err != nil {
		return err
	}
	if err := checkAddrs(a.Addrs); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return a.Hint.Validate()
}

// Encode returns the canonical bytes of a, or the error of Validate.
func (a Answer) Encode() ([]byte, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	return encodeWithin("answer", a.node(), MaxAnswer)
}

func (a Answer) node() datamodel.Node {
	return buildMap(func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "v", qp.Int(Version))
		qp.MapEntry(m, "to", link(a.Announce))
		qp.MapEntry(m, "hint", qp.Map(-1, a.Hint.fields))
		qp.MapEntry(m, "addrs", stringList(a.Addrs))
	})
}

// DecodeAnswer decodes what Encode returned, and rejects everything else.
func DecodeAnswer(b []byte) (Answer, error) {
	var a Answer
	err := decodeWithin(b, MaxAnswer, "answer", func(r *record) {
		r.version()
		a.Announce = r.link("to")
		if n := r.field("hint"); n != nil {
			h := r.sub(n)
			a.Hint = readHint(h)
			h.end()
		}
		a.Addrs = r.strs("addrs")
	})
	if err == nil {
		err = a.Validate()
	}
	if err == nil {
		err = same("answer", b, a.node())
	}
	if err != nil {
		return Answer{}, err
	}
	return a, nil
}
