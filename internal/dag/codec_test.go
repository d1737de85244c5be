package dag

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"

	"github.com/ipfs-liftoff/liftoff/abi"
)

var (
	cidA = NewBlock(cid.Raw, []byte("a")).CID()
	cidB = NewBlock(cid.DagCBOR, []byte{0xa0}).CID()
)

// FuzzDagPB: the reference codec accepts everything that parsePB accepts, with the same result.
func FuzzDagPB(f *testing.F) {
	for _, n := range []pbNode{
		{},
		{data: []byte("data")},
		{links: []pbLink{{cid: cidA, name: "n", tsize: 5}, {cid: cidB}}},
		{data: fsFileNode(nil, 1, 2).encode(), links: linksTo(cidA, cidB)},
	} {
		f.Add(n.encode())
	}
	f.Add([]byte{0x0a, 0x01, 0x00, 0x12, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parsePB(b)
		if err != nil {
			return
		}
		nb := basicnode.Prototype.Map.NewBuilder()
		if err := dagpb.DecodeBytes(nb, b); err != nil {
			t.Fatalf("accepted, but the reference codec refuses it: %v", err)
		}
		want := nb.Build()
		if got := linksOf(t, want); !slices.EqualFunc(got, n.links, func(c cid.Cid, l pbLink) bool { return c == l.cid }) {
			t.Fatalf("links %v, want %v", n.links, got)
		}
		if d, err := want.LookupByString("Data"); err == nil {
			if want, _ := d.AsBytes(); !bytes.Equal(want, n.data) {
				t.Fatalf("data %q, want %q", n.data, want)
			}
		}
		again, err := parsePB(n.encode())
		if err != nil || !slices.Equal(again.links, n.links) || !bytes.Equal(again.data, n.data) {
			t.Fatalf("encoding and decoding changes it: %v", err)
		}
		if fs, err := parseFS(n.data); err == nil {
			if len(fs.encode()) != fs.size() || !bytes.Equal(fs.encodeAlone(), pbNode{data: fs.encode()}.encode()) {
				t.Fatal("size of a UnixFS message is wrong")
			}
			if again, err := parseFS(fs.encode()); err != nil || again.typ != fs.typ || !slices.Equal(again.blockSizes, fs.blockSizes) {
				t.Fatalf("encoding and decoding UnixFS changes it: %v", err)
			}
		}
	})
}

// linksOf collects the links of a value in field order.
func linksOf(t *testing.T, n datamodel.Node) []cid.Cid {
	var links []cid.Cid
	var visit func(n datamodel.Node)
	visit = func(n datamodel.Node) {
		switch n.Kind() {
		case datamodel.Kind_Link:
			l, _ := n.AsLink()
			links = append(links, l.(cidlink.Link).Cid)
		case datamodel.Kind_Map:
			for it := n.MapIterator(); !it.Done(); {
				_, v, err := it.Next()
				if err != nil {
					t.Fatal(err)
				}
				visit(v)
			}
		case datamodel.Kind_List:
			for it := n.ListIterator(); !it.Done(); {
				_, v, err := it.Next()
				if err != nil {
					t.Fatal(err)
				}
				visit(v)
			}
		}
	}
	visit(n)
	return links
}

func cborBlock(t testing.TB, n datamodel.Node, err error) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err == nil {
		err = dagcbor.Encode(n, &buf)
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// exampleCBOR is {"a": link, "list": [1, {"deep": link}, link], "text": "x", …}.
func exampleCBOR(t testing.TB, a, b cid.Cid) []byte {
	n, err := qp.BuildMap(basicnode.Prototype.Any, -1, func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "a", qp.Link(cidlink.Link{Cid: a}))
		qp.MapEntry(m, "list", qp.List(3, func(l datamodel.ListAssembler) {
			qp.ListEntry(l, qp.Int(1))
			qp.ListEntry(l, qp.Map(1, func(m datamodel.MapAssembler) { qp.MapEntry(m, "deep", qp.Link(cidlink.Link{Cid: b})) }))
			qp.ListEntry(l, qp.Link(cidlink.Link{Cid: a}))
		}))
		qp.MapEntry(m, "text", qp.String("x"))
		qp.MapEntry(m, "bytes", qp.Bytes([]byte{0, 1, 255}))
		qp.MapEntry(m, "float", qp.Float(1.5))
		qp.MapEntry(m, "neg", qp.Int(math.MinInt64))
		qp.MapEntry(m, "yes", qp.Bool(true))
		qp.MapEntry(m, "null", qp.Null())
	})
	return cborBlock(t, n, err)
}

// FuzzDagCBOR: the reference codec accepts everything that cborLinks accepts, with the same links.
func FuzzDagCBOR(f *testing.F) {
	f.Add(exampleCBOR(f, cidA, cidB))
	f.Add([]byte{0xa0})
	f.Add([]byte{0x9b, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		links, err := cborLinks(b)
		if err != nil {
			return
		}
		nb := basicnode.Prototype.Any.NewBuilder()
		if err := (dagcbor.DecodeOptions{AllowLinks: true}).Decode(nb, bytes.NewReader(b)); err != nil {
			if strings.Contains(err.Error(), "duplicate") || strings.Contains(err.Error(), "of int64") || strings.Contains(err.Error(), "budget") {
				return // its own limits: unique keys, 64-bit integers, memory
			}
			t.Fatalf("accepted, but the reference codec refuses it: %v", err)
		}
		if want := linksOf(t, nb.Build()); !slices.Equal(want, links) {
			t.Fatalf("links %v, want %v", links, want)
		}
	})
}

func TestLinks(t *testing.T) {
	pb := pbNode{links: linksTo(cidB, cidA, cidB)}.encode()
	for name, tc := range map[string]struct {
		b    Block
		want []cid.Cid
	}{
		"raw":      {NewBlock(cid.Raw, pb), nil},
		"dag-pb":   {NewBlock(cid.DagProtobuf, pb), []cid.Cid{cidB, cidA, cidB}},
		"dag-cbor": {NewBlock(cid.DagCBOR, exampleCBOR(t, cidA, cidB)), []cid.Cid{cidA, cidB, cidA}},
		"scalar":   {NewBlock(cid.DagCBOR, []byte{0x18, 0x2a}), nil},
	} {
		if got, err := Links(tc.b); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tc.want)
		}
	}
	var unsupported *UnsupportedError
	if _, err := Links(NewBlock(cid.GitRaw, nil)); !errors.As(err, &unsupported) {
		t.Errorf("git: %v", err)
	}
}

func TestLinksRefuses(t *testing.T) {
	link := append([]byte{0xd8, 42, 0x58, 37, 0}, cidA.Bytes()...)
	twice := pbNode{links: linksTo(cidA)}.encode()
	for name, b := range map[string]Block{
		"empty cbor":                 NewBlock(cid.DagCBOR, nil),
		"two values":                 NewBlock(cid.DagCBOR, []byte{0xa0, 0xa0}),
		"an indefinite list":         NewBlock(cid.DagCBOR, []byte{0x9f, 0xff}),
		"a list that ends early":     NewBlock(cid.DagCBOR, []byte{0x82, 1}),
		"a list of 2^63":             NewBlock(cid.DagCBOR, []byte{0x9b, 0x80, 0, 0, 0, 0, 0, 0, 0}),
		"bytes of 2^63":              NewBlock(cid.DagCBOR, []byte{0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0}),
		"a long small number":        NewBlock(cid.DagCBOR, []byte{0x18, 5}),
		"a very long small number":   NewBlock(cid.DagCBOR, []byte{0x1b, 0, 0, 0, 0, 0, 0, 1, 0}),
		"an integer key":             NewBlock(cid.DagCBOR, []byte{0xa1, 1, 1}),
		"tag 1":                      NewBlock(cid.DagCBOR, []byte{0xc1, 1}),
		"a link of text":             NewBlock(cid.DagCBOR, []byte{0xd8, 42, 0x61, 'a'}),
		"a link without zero":        NewBlock(cid.DagCBOR, []byte{0xd8, 42, 0x41, 1}),
		"an empty link":              NewBlock(cid.DagCBOR, []byte{0xd8, 42, 0x40}),
		"a link and more":            NewBlock(cid.DagCBOR, append(bytes.Replace(link, []byte{37}, []byte{38}, 1), 7)),
		"undefined":                  NewBlock(cid.DagCBOR, []byte{0xf7}),
		"a short float":              NewBlock(cid.DagCBOR, []byte{0xf9, 0, 0}),
		"NaN":                        NewBlock(cid.DagCBOR, []byte{0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0}),
		"nested a million deep":      NewBlock(cid.DagCBOR, bytes.Repeat([]byte{0x81}, 1<<20)),
		"dag-pb: varint":             NewBlock(cid.DagProtobuf, []byte{8, 1}),
		"dag-pb: unknown field":      NewBlock(cid.DagProtobuf, []byte{0x1a, 0}),
		"dag-pb: no hash":            NewBlock(cid.DagProtobuf, []byte{0x12, 0}),
		"dag-pb: bad hash":           NewBlock(cid.DagProtobuf, []byte{0x12, 4, 0x0a, 2, 9, 9}),
		"dag-pb: length beyond":      NewBlock(cid.DagProtobuf, []byte{0x0a, 0x7f}),
		"dag-pb: two Data":           NewBlock(cid.DagProtobuf, []byte{0x0a, 0, 0x0a, 0}),
		"dag-pb: links in two parts": NewBlock(cid.DagProtobuf, slices.Concat(twice[:len(twice)-2], []byte{0x0a, 0}, twice[:len(twice)-2])),
	} {
		var malformed *FormatError
		if links, err := Links(b); !errors.As(err, &malformed) {
			t.Errorf("%s: %v, %v", name, links, err)
		}
	}
}

// deepJSON is depth nested lists around a number.
func deepJSON(depth int) []byte {
	return slices.Concat(bytes.Repeat([]byte("["), depth), []byte("1"), bytes.Repeat([]byte("]"), depth))
}

func TestBlockJSON(t *testing.T) {
	for name, tc := range map[string]struct {
		b    Block
		want string
	}{
		"raw":                 {NewBlock(cid.Raw, []byte("hi")), `{"/":{"bytes":"aGk"}}`},
		"dag-pb without Data": {NewBlock(cid.DagProtobuf, bytes.TrimSuffix(pbNode{links: linksTo(cidA)}.encode(), []byte{0x0a, 0})), `{"Links":[{"Hash":{"/":"` + cidA.String() + `"},"Name":"","Tsize":0}]}`},
		"directory":           {NewBlock(cid.DagProtobuf, pbNode{data: plainDirData}.encode()), `{"Data":{"/":{"bytes":"CAE"}},"Links":[]}`},
		"dag-cbor": {NewBlock(cid.DagCBOR, exampleCBOR(t, cidA, cidB)), `{"a":{"/":"` + cidA.String() + `"},"bytes":{"/":{"bytes":"AAH/"}},"float":1.5,` +
			`"list":[1,{"deep":{"/":"` + cidB.String() + `"}},{"/":"` + cidA.String() + `"}],"neg":-9223372036854775808,"null":null,"text":"x","yes":true}`},
		"dag-json": {
			NewBlock(cid.DagJSON, []byte(` {"b":[1.50, 123456789012345678901234567890],`+"\n\t"+`"a":{"/":"`+cidA.String()+`"}, "t":"x y\n<\u00e9"}`+"\n")),
			`{"b":[1.50,123456789012345678901234567890],"a":{"/":"` + cidA.String() + `"},"t":"x y\n<\u00e9"}`,
		},
		"dag-json at the largest depth": {NewBlock(cid.DagJSON, deepJSON(abi.MaxDepth)), string(deepJSON(abi.MaxDepth))},
	} {
		if !HasJSON(tc.b.CID().Type()) {
			t.Errorf("%s: HasJSON is false", name)
		}
		if got, err := BlockJSON(tc.b); err != nil || string(got) != tc.want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, tc.want)
		}
	}
	var unsupported *UnsupportedError
	if _, err := BlockJSON(NewBlock(cid.GitRaw, nil)); !errors.As(err, &unsupported) || HasJSON(cid.GitRaw) {
		t.Errorf("git: %v", err)
	}
	var malformed *FormatError
	for _, b := range []Block{
		NewBlock(cid.DagCBOR, bytes.Repeat([]byte{0x81}, 1<<20)), NewBlock(cid.DagProtobuf, []byte{1}),
		NewBlock(cid.DagJSON, bytes.Repeat([]byte("["), 1<<20)), NewBlock(cid.DagJSON, deepJSON(abi.MaxDepth+1)),
		NewBlock(cid.DagJSON, []byte(`{"a":1`)), NewBlock(cid.DagJSON, []byte(`{"/":"not a CID"}`)), NewBlock(cid.DagJSON, []byte("\"\xff\"")),
	} {
		if _, err := BlockJSON(b); !errors.As(err, &malformed) {
			t.Errorf("malformed: %v", err)
		}
	}
}
