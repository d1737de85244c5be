package dag

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/multiformats/go-multibase"
	"github.com/multiformats/go-multihash"
)

// exampleJSON is exampleCBOR as dag-json, encoded by the reference codec.
func exampleJSON(t testing.TB, a, b cid.Cid) []byte {
	t.Helper()
	nb := basicnode.Prototype.Any.NewBuilder()
	if err := dagcbor.Decode(nb, bytes.NewReader(exampleCBOR(t, a, b))); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := dagjson.Encode(nb.Build(), &buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// FuzzDagJSON: the reference codec accepts everything that jsonLinks accepts, with the same links.
func FuzzDagJSON(f *testing.F) {
	f.Add(exampleJSON(f, cidA, cidB))
	for _, s := range []string{
		`{}`, ` [ ] `, `-0.5e+3`, `"\u002f"`, `{"/":"` + cidA.String() + `"}`, `{"\u002F" : "` + cidA.String() + `" } `,
		`{"/":{"bytes":"AAH/"}}`, `{"/":{"bytes":"AAH/AA=="}}`, `{"/":{"bytes":1}}`, `{"/":1}`, `{"/":"x","y":1}`, `{"/":{"bytes":"!","x":1}}`, `{"x":1,"/":"y"}`,
		`{"/":{"/":"` + cidA.String() + `"}}`, `{"/":["` + cidA.String() + `"]}`, `{"/":{"/":{"bytes":"AA"}}}`, `{"/":{"bytes":{"/":"` + cidA.String() + `"}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		links, err := jsonLinks(b)
		if err != nil {
			return
		}
		nb := basicnode.Prototype.Any.NewBuilder()
		if err := dagjson.Decode(nb, bytes.NewReader(b)); err != nil {
			for _, own := range []string{"repeat map key", "out of range", "surrogate", "expected 'low'"} { // unique keys, ranges of numbers
				if strings.Contains(err.Error(), own) {
					return
				}
			}
			t.Fatalf("accepted, but the reference codec refuses it: %v", err)
		}
		if want := linksOf(t, nb.Build()); !slices.Equal(want, links) {
			t.Fatalf("links %v, want %v", links, want)
		}
	})
}

func TestJSONLinks(t *testing.T) {
	v0 := cid.NewCidV0(cidA.Hash())
	for text, want := range map[string][]cid.Cid{
		string(exampleJSON(t, cidA, cidB)):                    {cidA, cidB, cidA},
		`{"/":"` + cidA.String() + `"}`:                       {cidA},
		"\t{ \"\\u002f\" :\r\n\"" + v0.String() + "\" } ":     {v0},
		`{"/":"` + cidA.String() + `","more":1}`:              nil,
		`{"less":1,"/":"` + cidA.String() + `"}`:              nil,
		`{"/":{"bytes":"AAH/"}}`:                              nil,
		`{"/":{"/":"` + cidA.String() + `"}}`:                 {cidA},
		`{"a":{"/":{"bytes":{"/":"` + cidB.String() + `"}}}}`: {cidB},
		`[1,-0.5e+3,true,false,null,"\"\\\/\b\f\n\r\tü"]`:     nil,
	} {
		if got, err := Links(NewBlock(cid.DagJSON, []byte(text))); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestJSONLinksRefuses(t *testing.T) {
	for _, text := range []string{
		``, ` `, `{} {}`, `{`, `[`, `[1,]`, `[1 2]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1 "b":2}`, `nul`, `+1`, `01`, `1.`, `.5`, `1e`, `-`, `"`, `"\x"`, `"\u12"`, "\"\n\"", "\"\xff\"",
		`{"/":"not a CID"}`, `{"/":{"bytes":"!"}}`, strings.Repeat("[", 1<<20), strings.Repeat(`{"/":`, 1<<18),
		`{"/":"z` + strings.Repeat("1", 1<<20) + `"}`,
	} {
		var malformed *FormatError
		if links, err := Links(NewBlock(cid.DagJSON, []byte(text))); !errors.As(err, &malformed) {
			t.Errorf("%.60s: %v, %v", text, links, err)
		}
	}
}

// TestJSONBytesSpelling: bytes must be canonical base64, with or without padding.
func TestJSONBytesSpelling(t *testing.T) {
	for text, good := range map[string]bool{
		``: true, `AA`: true, `AA==`: true, `AAH/`: true, `AA=`: false, `AB`: false, `A\nA`: false, `AA\r\n`: false, `A-_B`: false, `A`: false,
	} {
		_, err := Links(NewBlock(cid.DagJSON, []byte(`{"/":{"bytes":"`+text+`"}}`)))
		if (err == nil) != good {
			t.Errorf("%q: %v, want good: %t", text, err, good)
		}
	}
}

// TestJSONLinkSpelling: the links that a guest sees do not depend on the version of a library. Only the canonical
// encoding of a CID in one of the listed bases is a link.
func TestJSONLinkSpelling(t *testing.T) {
	links := func(text string) ([]cid.Cid, error) {
		return Links(NewBlock(cid.DagJSON, []byte(`{"/":"`+text+`"}`)))
	}
	in := func(base multibase.Encoding) string {
		s, err := cidA.StringOfBase(base)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for base, name := range multibase.EncodingToStr {
		got, err := links(in(base))
		if strings.ContainsRune(cidBases, rune(base)) {
			if err != nil || !slices.Equal(got, []cid.Cid{cidA}) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		} else if err == nil {
			t.Errorf("%s: accepted as a link", name)
		}
	}
	b32 := in(multibase.Base32)
	for _, text := range []string{
		"b" + strings.ToUpper(b32[1:]),               // upper case
		b32[:len(b32)-1] + string(b32[len(b32)-1]+1), // trailing bits
	} {
		if c, err := cid.Decode(text); err != nil || !c.Equals(cidA) {
			t.Errorf("%s: the library returns %v, %v: the test is not effective", text, c, err)
		}
		if got, err := links(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestCodecs: which codecs have links, which never have links, and which are opaque.
func TestCodecs(t *testing.T) {
	for codec, want := range map[uint64]string{
		cid.Raw: "leaf", 0x51: "leaf", 0x0200: "leaf", cid.Libp2pKey: "leaf",
		cid.DagProtobuf: "links", cid.DagCBOR: "links", cid.DagJSON: "links",
		cid.GitRaw: "opaque", cid.DagJOSE: "opaque", cid.EthBlock: "opaque", 0x300123: "opaque",
	} {
		var unsupported *UnsupportedError
		links, err := Links(NewBlock(codec, []byte("\x01\x02 not valid for any codec")))
		got := "links"
		switch {
		case err == nil && links == nil:
			got = "leaf"
		case errors.As(err, &unsupported):
			got = "opaque"
		}
		if got != want || HasLinks(codec) != (want == "links") || IsLeaf(codec) != (want == "leaf") {
			t.Errorf("codec 0x%x: %s, %v, HasLinks %v, IsLeaf %v; want %s", codec, got, err, HasLinks(codec), IsLeaf(codec), want)
		}
	}
}

// TestWalkOpaque: a walk reports blocks whose links cannot be read, and continues with the others.
func TestWalkOpaque(t *testing.T) {
	bs := new(MemBlocks)
	leaf := put(bs, cid.Raw, []byte("leaf"))
	text := put(bs, cid.DagJSON, []byte(`{"/":"`+leaf.String()+`"}`))
	git, bad := put(bs, cid.GitRaw, []byte("tree")), put(bs, cid.DagCBOR, []byte{0xff})
	away := NewBlock(cid.GitRaw, []byte("not here")).CID()
	mh, err := multihash.Sum([]byte("inline"), multihash.IDENTITY, -1)
	if err != nil {
		t.Fatal(err)
	}
	inline := cid.NewCidV1(cid.GitRaw, mh)
	root := put(bs, cid.DagProtobuf, pbNode{links: linksTo(git, bad, away, text, inline)}.encode())
	for _, data := range []bool{false, true} {
		var seen, opaque []cid.Cid
		o := WalkOptions{Data: data, Missing: true, Opaque: func(c cid.Cid, why error) ([]cid.Cid, error) {
			if why == nil {
				t.Errorf("%s: got no reason", c)
			}
			opaque = append(opaque, c)
			return nil, nil
		}}
		err := Walk(ctx, bs, []cid.Cid{root}, o, func(v Visited) error {
			seen = append(seen, v.CID)
			return nil
		})
		if err != nil || !slices.Equal(seen, []cid.Cid{root, git, bad, away, text, leaf, inline}) || !slices.Equal(opaque, []cid.Cid{git, bad, inline}) {
			t.Errorf("seen %v, opaque %v, %v", seen, opaque, err)
		}
	}
	e, err := Count(ctx, bs, root)
	if err != nil || e.Opaque != 3 || e.Exact || e.Blocks != 7 || e.Missing != 1 {
		t.Errorf("%+v, %v", e, err)
	}
	var malformed *FormatError
	if err := Walk(ctx, bs, []cid.Cid{root}, WalkOptions{Missing: true}, func(Visited) error { return nil }); !errors.As(err, &malformed) {
		t.Errorf("without a hook: %v", err)
	}
}
