package job

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	"github.com/ipld/go-ipld-prime/node/basicnode"
)

// statement is a signed type. It travels in an envelope in the shape of UCAN 1.0, [signature, {"h":
// header, tag: payload}], with an Ed25519 signature over the DAG-CBOR bytes of the second element.
// The CID of the envelope names the statement.
type statement interface {
	form() form
	issuer() DID
	validate() error
	fields(datamodel.MapAssembler) // of the payload
}

// form holds the constants of one type of statement.
type form struct {
	name string // for errors
	tag  string // key of the payload in the envelope
	max  int    // maximum size of the envelope in bytes
}

// varsigEd25519 is the Varsig v1 header for Ed25519 over DAG-CBOR: the prefix 0x34,
// version 1, EdDSA, curve ed25519, hash sha2-512, payload dag-cbor.
var varsigEd25519 = []byte{0x34, 0x01, 0xed, 0x01, 0xed, 0x01, 0x13, 0x71}

// ErrSignature means that a signature was not made with the issuer's key.
var ErrSignature = errors.New("bad signature")

// seal returns the envelope of s, whose issuer must be the owner of key.
func seal(s statement, key ed25519.PrivateKey) ([]byte, error) {
	if err := check(s); err != nil {
		return nil, err
	}
	name := s.form().name
	signed, err := encode(name, signedNode(s))
	if err != nil {
		return nil, err
	}
	return encodeWithin(name, envelopeNode(ed25519.Sign(key, signed), s), s.form().max)
}

// unseal decodes an envelope strictly and verifies its signature. The error is ErrSignature when
// only the signature is wrong.
func unseal[S statement](b []byte, read func(*record) S) (S, error) {
	var none S
	s, sig, err := open(b, read)
	if err != nil {
		return none, fmt.Errorf("decode %s: %w", none.form().name, err)
	}
	pub, err := s.issuer().decode() // open has checked the key
	if err != nil {
		return none, err
	}
	signed, err := encode(s.form().name, signedNode(s))
	if err != nil {
		return none, err
	}
	if !ed25519.Verify(pub, signed, sig) {
		return none, fmt.Errorf("%s of %s: %w", s.form().name, s.issuer(), ErrSignature)
	}
	return s, nil
}

// open decodes an envelope strictly without verifying its signature.
func open[S statement](b []byte, read func(*record) S) (s S, sig []byte, err error) {
	n, err := parse(b, s.form().max)
	if err != nil {
		return s, nil, err
	}
	if n.Kind() != datamodel.Kind_List || n.Length() != 2 {
		return s, nil, errors.New("envelope is not a list of signature and payload")
	}
	first, _ := n.LookupByIndex(0) // the list has two elements
	second, _ := n.LookupByIndex(1)
	if sig, err = first.AsBytes(); err != nil || len(sig) != ed25519.SignatureSize {
		return s, nil, errors.New("signature is not an Ed25519 signature")
	}
	rec := &record{err: &err}
	rec = rec.sub(second)
	if h := rec.bytes("h"); err == nil && !bytes.Equal(h, varsigEd25519) {
		rec.fail("signature header: got %x, want %x", h, varsigEd25519)
	}
	if p := rec.field(s.form().tag); p != nil {
		payload := rec.sub(p)
		s = read(payload)
		payload.end()
	}
	rec.end()
	if err == nil {
		err = check(s)
	}
	if err == nil {
		err = same(s.form().name, b, envelopeNode(sig, s))
	}
	return s, sig, err
}

func check(s statement) error {
	if _, err := s.issuer().Key(); err != nil {
		return fmt.Errorf("%s: issuer: %w", s.form().name, err)
	}
	return s.validate()
}

func envelopeNode(sig []byte, s statement) datamodel.Node {
	n, err := qp.BuildList(basicnode.Prototype.Any, 2, func(l datamodel.ListAssembler) {
		qp.ListEntry(l, qp.Bytes(sig))
		qp.ListEntry(l, qp.Node(signedNode(s)))
	})
	if err != nil {
		panic(err) // basicnode accepts any two values
	}
	return n
}

// signedNode returns the part of the envelope that the signature covers.
func signedNode(s statement) datamodel.Node {
	return buildMap(func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "h", qp.Bytes(varsigEd25519))
		qp.MapEntry(m, s.form().tag, qp.Map(-1, s.fields))
	})
}
