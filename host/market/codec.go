package market

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	"github.com/ipld/go-ipld-prime/node/basicnode"
)

// message is the content of a control frame: a DAG-CBOR map of one entry, from the message's name to the map of its
// fields.
type message interface {
	name() string
	// fields lists each field once, for both directions.
	fields(*coder)
}

// messages returns the zero value of each message by its name.
var messages = map[string]func() message{}

func register(makers ...func() message) {
	for _, f := range makers {
		messages[f().name()] = f
	}
}

// encode returns the canonical form of m.
func encode(m message) ([]byte, error) {
	n, err := nodeOf(m)
	if err != nil {
		return nil, fmt.Errorf("encode market message %s: %w", m.name(), err)
	}
	var b bytes.Buffer
	if err := dagcbor.Encode(n, &b); err != nil {
		return nil, fmt.Errorf("encode market message %s: %w", m.name(), err)
	}
	if b.Len() > MaxControl {
		return nil, fmt.Errorf("encode market message %s: got %d bytes, want at most %d", m.name(), b.Len(), MaxControl)
	}
	return b.Bytes(), nil
}

func nodeOf(m message) (n datamodel.Node, err error) {
	built, buildErr := qp.BuildMap(basicnode.Prototype.Any, 1, func(a datamodel.MapAssembler) {
		qp.MapEntry(a, m.name(), qp.Map(-1, func(a datamodel.MapAssembler) {
			m.fields(&coder{out: a, err: &err})
		}))
	})
	if err == nil {
		err = buildErr
	}
	return built, err
}

// decode accepts only the output of encode: an unknown message or field, a missing field, or a non-canonical form is
// an error.
func decode(b []byte) (message, error) {
	nb := basicnode.Prototype.Any.NewBuilder()
	opts := dagcbor.DecodeOptions{AllocationBudget: 16 * MaxControl, MaxDepth: 8}
	if err := opts.Decode(nb, bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("decode market message: %w", err)
	}
	n := nb.Build()
	if n.Kind() != datamodel.Kind_Map || n.Length() != 1 {
		return nil, errors.New("decode market message: want a map of one message")
	}
	k, v, err := n.MapIterator().Next()
	if err != nil {
		return nil, fmt.Errorf("decode market message: %w", err)
	}
	name, err := k.AsString()
	if err != nil {
		return nil, fmt.Errorf("decode market message: %w", err)
	}
	make, ok := messages[name]
	if !ok {
		return nil, fmt.Errorf("decode market message: unknown message %.40q", name)
	}
	m := make()
	if err := decodeFields(m, v); err != nil {
		return nil, fmt.Errorf("decode market message %s: %w", name, err)
	}
	canon, err := encode(m)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(b, canon) {
		return nil, fmt.Errorf("decode market message %s: not canonical DAG-CBOR", name)
	}
	return m, nil
}

func decodeFields(m message, n datamodel.Node) (err error) {
	if n.Kind() != datamodel.Kind_Map {
		return fmt.Errorf("fields: got %s, want a map", n.Kind())
	}
	c := &coder{in: n, err: &err}
	m.fields(c)
	if err == nil && n.Length() != c.read {
		err = fmt.Errorf("got %d fields, want %d", n.Length(), c.read)
	}
	return err
}

// coder writes fields to out, or reads them from in, and keeps the first error.
type coder struct {
	out  datamodel.MapAssembler
	in   datamodel.Node
	read int64
	err  *error
}

func (c *coder) fail(format string, a ...any) {
	if *c.err == nil {
		*c.err = fmt.Errorf(format, a...)
	}
}

// field returns the field to read, or nil after an error.
func (c *coder) field(name string) datamodel.Node {
	if *c.err != nil {
		return nil
	}
	n, err := c.in.LookupByString(name)
	if err != nil {
		c.fail("message field %q: missing", name)
		return nil
	}
	c.read++
	return n
}

func (c *coder) writing() bool { return c.out != nil }

// bytes is a byte string of at most limit bytes.
func (c *coder) bytes(name string, v *[]byte, limit int) {
	if c.writing() {
		qp.MapEntry(c.out, name, qp.Bytes(*v))
	} else if n := c.field(name); n != nil {
		b, err := n.AsBytes()
		if err != nil {
			c.fail("field %q: got %s, want bytes", name, n.Kind())
		}
		*v = b
	}
	if len(*v) > limit {
		c.fail("field %q: got %d bytes, want at most %d", name, len(*v), limit)
	}
}

// lease is a byte string of exactly 16 bytes.
func (c *coder) lease(name string, v *Lease) {
	b := v[:]
	c.bytes(name, &b, len(v))
	if copy(v[:], b) != len(v) {
		c.fail("field %q: got %d bytes, want %d", name, len(b), len(v))
	}
}

// text is UTF-8 of at most limit bytes without control characters.
func (c *coder) text(name string, v *string, limit int) {
	if c.writing() {
		qp.MapEntry(c.out, name, qp.String(*v))
	} else if n := c.field(name); n != nil {
		s, err := n.AsString()
		if err != nil {
			c.fail("field %q: got %s, want text", name, n.Kind())
		}
		*v = s
	}
	if err := checkText(*v, limit); err != nil {
		c.fail("field %q: %w", name, err)
	}
}

// uint is an integer from 0 to 2^63-1.
func (c *coder) uint(name string, v *uint64) {
	if c.writing() {
		if int64(*v) < 0 {
			c.fail("field %q: more than 63 bits", name)
		}
		qp.MapEntry(c.out, name, qp.Int(int64(*v)))
	} else if n := c.field(name); n != nil {
		i, err := n.AsInt()
		if err != nil || i < 0 {
			c.fail("field %q: want an unsigned integer of 63 bits", name)
		}
		*v = uint64(i)
	}
}

func (c *coder) bool(name string, v *bool) {
	if c.writing() {
		qp.MapEntry(c.out, name, qp.Bool(*v))
	} else if n := c.field(name); n != nil {
		b, err := n.AsBool()
		if err != nil {
			c.fail("field %q: got %s, want a bool", name, n.Kind())
		}
		*v = b
	}
}

// texts is a list of at most count texts.
func (c *coder) texts(name string, v *[]string, count, limit int) {
	if c.writing() {
		qp.MapEntry(c.out, name, qp.List(int64(len(*v)), func(l datamodel.ListAssembler) {
			for _, s := range *v {
				qp.ListEntry(l, qp.String(s))
			}
		}))
	} else if n := c.field(name); n != nil {
		*v = c.readTexts(name, n, count)
	}
	if len(*v) > count {
		c.fail("field %q: got %d entries, want at most %d", name, len(*v), count)
	}
	for _, s := range *v {
		if err := checkText(s, limit); err != nil {
			c.fail("field %q: %w", name, err)
		}
	}
}

func (c *coder) readTexts(name string, n datamodel.Node, count int) (list []string) {
	if n.Kind() != datamodel.Kind_List || n.Length() > int64(count) {
		c.fail("field %q: want a list of at most %d entries", name, count)
		return nil
	}
	for it := n.ListIterator(); !it.Done(); {
		_, e, err := it.Next()
		if err != nil {
			c.fail("field %q: %w", name, err)
			return nil
		}
		s, err := e.AsString()
		if err != nil {
			c.fail("field %q: got an entry of kind %s, want text", name, e.Kind())
		}
		list = append(list, s)
	}
	return list
}

func checkText(s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("text: got %d bytes, want at most %d", len(s), limit)
	}
	if !utf8.ValidString(s) {
		return errors.New("text: not UTF-8")
	}
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return fmt.Errorf("text: control character %U", r)
		}
	}
	return nil
}
