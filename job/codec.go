// Package job defines the formats of liftoff and their encoding. A Task names a computation; an
// Outcome is its result. The types are pure data.
//
// The encoding is canonical DAG-CBOR and is decoded strictly: an unknown or missing field, a
// trailing byte, or another encoding of the same value is an error. So each value has exactly one
// CID. docs/formats.md is the specification; the vectors in testdata are its tests.
package job

import (
	"bytes"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/multiformats/go-multihash"
)

// CIDOf returns the CID of an encoded value: CIDv1, dag-cbor, sha2-256.
func CIDOf(b []byte) cid.Cid {
	h, err := multihash.Sum(b, multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // sha2-256 is built in
	}
	return cid.NewCidV1(cid.DagCBOR, h)
}

func (t Task) node() datamodel.Node {
	return buildMap(func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "v", qp.Int(Version))
		qp.MapEntry(m, "abi", qp.String(t.ABI))
		qp.MapEntry(m, "mod", link(t.Mod))
		qp.MapEntry(m, "fn", qp.String(t.Fn))
		qp.MapEntry(m, "in", qp.List(int64(len(t.In)), func(l datamodel.ListAssembler) {
			for _, in := range t.In {
				qp.ListEntry(l, qp.Map(2, func(m datamodel.MapAssembler) {
					qp.MapEntry(m, "n", qp.String(in.Name))
					qp.MapEntry(m, "c", link(in.CID))
				}))
			}
		}))
		qp.MapEntry(m, "stdin", link(t.Stdin))
		qp.MapEntry(m, "args", stringList(t.Args))
		qp.MapEntry(m, "env", stringMap(t.Env))
		qp.MapEntry(m, "det", qp.String(t.Det))
		qp.MapEntry(m, "out", qp.String(t.Out))
		qp.MapEntry(m, "nonce", qp.Bytes(t.Nonce))
	})
}

func (o Outcome) node() datamodel.Node {
	return buildMap(func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "v", qp.Int(Version))
		qp.MapEntry(m, "task", link(o.Task))
		qp.MapEntry(m, "st", qp.String(string(o.State)))
		qp.MapEntry(m, "code", qp.Int(int64(o.Code)))
		qp.MapEntry(m, "root", link(o.Root))
		qp.MapEntry(m, "size", qp.Int(int64(o.Size)))
		qp.MapEntry(m, "fuel", qp.Int(int64(o.Fuel)))
		qp.MapEntry(m, "pages", qp.Int(int64(o.Pages)))
		qp.MapEntry(m, "tmp", qp.Int(int64(o.Tmp)))
		qp.MapEntry(m, "log", qp.Int(int64(o.Log)))
		qp.MapEntry(m, "stdout", link(o.Stdout))
		qp.MapEntry(m, "stderr", link(o.Stderr))
		if o.Limits == nil {
			qp.MapEntry(m, "lim", qp.Null())
			return
		}
		qp.MapEntry(m, "lim", limits(*o.Limits))
	})
}

// Node returns t as an IPLD node, for printing as DAG-JSON. It is an error if t is invalid.
func (t Task) Node() (datamodel.Node, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return t.node(), nil
}

// Node returns o as an IPLD node, for printing as DAG-JSON. It is an error if o is invalid.
func (o Outcome) Node() (datamodel.Node, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return o.node(), nil
}

func buildMap(f func(datamodel.MapAssembler)) datamodel.Node {
	n, err := qp.BuildMap(basicnode.Prototype.Any, -1, f)
	if err != nil {
		panic(err) // basicnode rejects only duplicate keys, and these keys are constants
	}
	return n
}

func link(c cid.Cid) qp.Assemble {
	if !c.Defined() {
		return qp.Null()
	}
	return qp.Link(cidlink.Link{Cid: c})
}

func links(cids []cid.Cid) qp.Assemble {
	return qp.List(int64(len(cids)), func(l datamodel.ListAssembler) {
		for _, c := range cids {
			qp.ListEntry(l, link(c))
		}
	})
}

func stringList[S ~string](list []S) qp.Assemble {
	return qp.List(int64(len(list)), func(l datamodel.ListAssembler) {
		for _, s := range list {
			qp.ListEntry(l, qp.String(string(s)))
		}
	})
}

func stringMap(words map[string]string) qp.Assemble {
	return qp.Map(int64(len(words)), func(m datamodel.MapAssembler) {
		for k, v := range words {
			qp.MapEntry(m, k, qp.String(v))
		}
	})
}

func limits(l Limits) qp.Assemble {
	return qp.Map(5, func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "fuel", qp.Int(int64(l.Fuel)))
		qp.MapEntry(m, "pages", qp.Int(int64(l.Pages)))
		qp.MapEntry(m, "out", qp.Int(int64(l.Out)))
		qp.MapEntry(m, "tmp", qp.Int(int64(l.Tmp)))
		qp.MapEntry(m, "log", qp.Int(int64(l.Log)))
	})
}

// encode returns the canonical bytes of n; what is the name of the format, for errors.
func encode(what string, n datamodel.Node) ([]byte, error) { return encodeWithin(what, n, maxEncoding) }

func encodeWithin(what string, n datamodel.Node, limit int) ([]byte, error) {
	var b bytes.Buffer
	if err := dagcbor.Encode(n, &b); err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	if b.Len() > limit {
		return nil, fmt.Errorf("encode %s: got %d bytes, want at most %d", what, b.Len(), limit)
	}
	return b.Bytes(), nil
}

// same returns an error unless b is the canonical encoding of n.
func same(what string, b []byte, n datamodel.Node) error {
	canon, err := encode(what, n)
	if err != nil {
		return err
	}
	if !bytes.Equal(b, canon) {
		return fmt.Errorf("%s: DAG-CBOR encoding is not canonical", what)
	}
	return nil
}

func decode(b []byte, what string, fields func(*record)) error {
	return decodeWithin(b, maxEncoding, what, fields)
}

func decodeWithin(b []byte, limit int, what string, fields func(*record)) error {
	n, err := parse(b, limit)
	if err == nil {
		r := &record{err: &err}
		r = r.sub(n)
		fields(r)
		r.end()
	}
	if err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}

// parse decodes any DAG-CBOR value of at most limit bytes.
func parse(b []byte, limit int) (datamodel.Node, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("encoded record: got %d bytes, want at most %d", len(b), limit)
	}
	nb := basicnode.Prototype.Any.NewBuilder()
	opts := dagcbor.DecodeOptions{AllowLinks: true, AllocationBudget: 16 * int64(limit), MaxDepth: 8}
	if err := opts.Decode(nb, bytes.NewReader(b)); err != nil {
		return nil, err
	}
	return nb.Build(), nil
}

// record reads the fields of a map and keeps the first error. It counts the fields that were read,
// so that end can report unknown ones.
type record struct {
	n    datamodel.Node
	read int64
	err  *error
}

func (r *record) fail(format string, a ...any) {
	if *r.err == nil {
		*r.err = fmt.Errorf(format, a...)
	}
}

func (r *record) sub(n datamodel.Node) *record {
	s := &record{n: n, err: r.err}
	if n != nil && n.Kind() != datamodel.Kind_Map {
		r.fail("record: got a %s, want a map", n.Kind())
	}
	if *r.err != nil {
		s.n = nil
	}
	return s
}

func (r *record) end() {
	if r.n != nil && r.n.Length() != r.read {
		r.fail("record has %d fields, want %d", r.n.Length(), r.read)
	}
}

func (r *record) field(name string) datamodel.Node {
	if r.n == nil || *r.err != nil {
		return nil
	}
	n, err := r.n.LookupByString(name)
	if err != nil {
		r.fail("record has no field %q", name)
		return nil
	}
	r.read++
	return n
}

// typed converts a field by one of the As methods of datamodel.Node.
func typed[T any](r *record, name string, n datamodel.Node, as func(datamodel.Node) (T, error)) (v T) {
	if n == nil {
		return v
	}
	v, err := as(n)
	if err != nil {
		r.fail("field %q has the wrong kind %s", name, n.Kind())
	}
	return v
}

func (r *record) asString(name string, n datamodel.Node) string {
	return typed(r, name, n, datamodel.Node.AsString)
}

func (r *record) asLink(name string, n datamodel.Node) cid.Cid {
	l := typed(r, name, n, datamodel.Node.AsLink)
	cl, ok := l.(cidlink.Link)
	if !ok && l != nil {
		r.fail("field %q is not a CID link", name)
	}
	return cl.Cid
}

func (r *record) str(name string) string   { return r.asString(name, r.field(name)) }
func (r *record) link(name string) cid.Cid { return r.asLink(name, r.field(name)) }
func (r *record) bytes(name string) []byte {
	return typed(r, name, r.field(name), datamodel.Node.AsBytes)
}

func (r *record) uint(name string) uint64 {
	v := typed(r, name, r.field(name), datamodel.Node.AsInt)
	if v < 0 {
		r.fail("field %q is negative", name)
	}
	return uint64(v)
}

func (r *record) int(name string) int64 {
	return typed(r, name, r.field(name), datamodel.Node.AsInt)
}

func (r *record) bool(name string) bool {
	return typed(r, name, r.field(name), datamodel.Node.AsBool)
}

// small reads an integer of 32 bits.
func (r *record) small(name string) int {
	v := r.int(name)
	if v != int64(int32(v)) {
		r.fail("field %q is out of range", name)
	}
	return int(v)
}

func (r *record) version() {
	if v := r.uint("v"); v != Version {
		r.fail("record has format version %d, want %d", v, Version)
	}
}

func (r *record) nodeOrNull(name string) datamodel.Node {
	if n := r.field(name); n != nil && !n.IsNull() {
		return n
	}
	return nil
}

func (r *record) linkOrNull(name string) cid.Cid { return r.asLink(name, r.nodeOrNull(name)) }

func (r *record) didOrNull(name string) DID {
	n := r.nodeOrNull(name)
	d := DID(r.asString(name, n))
	if n != nil && d == "" {
		r.fail("field %q is empty", name)
	}
	return d
}

func (r *record) list(name string, each func(datamodel.Node)) {
	n := r.field(name)
	if n == nil {
		return
	}
	if n.Kind() != datamodel.Kind_List {
		r.fail("field %q has the wrong kind %s", name, n.Kind())
		return
	}
	for it := n.ListIterator(); !it.Done() && *r.err == nil; {
		_, v, err := it.Next()
		if err != nil {
			r.fail("read field %q: %w", name, err)
			return
		}
		each(v)
	}
}

func (r *record) strs(name string) (list []string) {
	r.list(name, func(n datamodel.Node) { list = append(list, r.asString(name, n)) })
	return list
}

func (r *record) dids(name string) (list []DID) {
	r.list(name, func(n datamodel.Node) { list = append(list, DID(r.asString(name, n))) })
	return list
}

func (r *record) links(name string) (list []cid.Cid) {
	r.list(name, func(n datamodel.Node) { list = append(list, r.asLink(name, n)) })
	return list
}

func (r *record) limits(name string) Limits {
	n := r.field(name)
	if n == nil {
		return Limits{}
	}
	return r.limitsOf(n)
}

func (r *record) limitsOf(n datamodel.Node) Limits {
	l := r.sub(n)
	defer l.end()
	return Limits{Fuel: l.uint("fuel"), Pages: l.uint("pages"), Out: l.uint("out"), Tmp: l.uint("tmp"), Log: l.uint("log")}
}

// strMap reads a map of strings. An empty map is nil.
func (r *record) strMap(name string) map[string]string {
	n := r.field(name)
	if n == nil {
		return nil
	}
	if n.Kind() != datamodel.Kind_Map {
		r.fail("field %q has the wrong kind %s", name, n.Kind())
		return nil
	}
	if n.Length() == 0 {
		return nil
	}
	m := make(map[string]string, n.Length())
	for it := n.MapIterator(); !it.Done() && *r.err == nil; {
		k, v, err := it.Next()
		if err != nil {
			r.fail("read field %q: %w", name, err)
			return nil
		}
		m[r.asString(name, k)] = r.asString(name, v)
	}
	return m
}
