package dag

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/encoding/protowire"
)

// pbNode is a decoded dag-pb block. See https://ipld.io/specs/codecs/dag-pb/spec/.
type pbNode struct {
	data  []byte // part of the block's bytes
	links []pbLink
}

// pbLink is one link of a dag-pb block.
type pbLink struct {
	cid   cid.Cid
	name  string
	tsize uint64 // bytes of the DAG below it, as claimed by the writer
}

// Fields of PBNode and PBLink.
const (
	pbData  = 1
	pbLinks = 2

	pbHash  = 1
	pbName  = 2
	pbTsize = 3
)

// parsePB decodes a dag-pb block as strictly as the specification: known fields of the right type only, the fields of
// a link in order, no link without a CID. Data may come before or after the links.
func parsePB(b []byte) (pbNode, error) {
	var n pbNode
	var haveData, linksEnded bool
	for len(b) > 0 {
		num, chunk, rest, err := pbField(b)
		if err != nil {
			return pbNode{}, err
		}
		b = rest
		switch num {
		case pbData:
			if haveData {
				return pbNode{}, errors.New("PBNode has two Data fields")
			}
			n.data, haveData, linksEnded = chunk, true, len(n.links) > 0
		case pbLinks:
			if linksEnded {
				return pbNode{}, errors.New("PBNode has links before and after its data")
			}
			l, err := parsePBLink(chunk)
			if err != nil {
				return pbNode{}, fmt.Errorf("link %d: %w", len(n.links), err)
			}
			n.links = append(n.links, l)
		default:
			return pbNode{}, fmt.Errorf("PBNode has unknown field %d", num)
		}
	}
	return n, nil
}

// pbField cuts a length-delimited field off b.
func pbField(b []byte) (num protowire.Number, chunk, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0, nil, nil, protowire.ParseError(n)
	}
	if typ != protowire.BytesType {
		return 0, nil, nil, fmt.Errorf("PBNode field %d has wire type %d", num, typ)
	}
	chunk, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return 0, nil, nil, protowire.ParseError(m)
	}
	return num, chunk, b[n+m:], nil
}

func parsePBLink(b []byte) (pbLink, error) {
	var l pbLink
	last := protowire.Number(0)
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return pbLink{}, protowire.ParseError(n)
		}
		if num <= last {
			return pbLink{}, fmt.Errorf("PBLink has field %d after field %d", num, last)
		}
		last, b = num, b[n:]
		switch {
		case num == pbTsize && typ == protowire.VarintType:
			l.tsize, n = protowire.ConsumeVarint(b)
			if n < 0 {
				return pbLink{}, protowire.ParseError(n)
			}
		case (num == pbHash || num == pbName) && typ == protowire.BytesType:
			var chunk []byte
			chunk, n = protowire.ConsumeBytes(b)
			if n < 0 {
				return pbLink{}, protowire.ParseError(n)
			}
			if num == pbName {
				l.name = string(chunk)
				break
			}
			c, err := parseCID(chunk)
			if err != nil {
				return pbLink{}, err
			}
			l.cid = c
		default:
			return pbLink{}, fmt.Errorf("PBLink field %d has wire type %d", num, typ)
		}
		b = b[n:]
	}
	if !l.cid.Defined() {
		return pbLink{}, errors.New("PBLink has no CID")
	}
	return l, nil
}

// parseCID parses a binary CID that fills b.
func parseCID(b []byte) (cid.Cid, error) {
	n, c, err := cid.CidFromBytes(b)
	if err != nil {
		return cid.Undef, fmt.Errorf("bad CID in a link: %w", err)
	}
	if n != len(b) {
		return cid.Undef, fmt.Errorf("%d bytes after the CID of a link", len(b)-n)
	}
	return c, nil
}

// encode encodes the node in canonical form: links in the given order, each with all three fields, then the data.
func (n pbNode) encode() []byte {
	size := len(n.data) + 16
	for _, l := range n.links {
		size += linkSize(l)
	}
	b := make([]byte, 0, size)
	for _, l := range n.links {
		b = protowire.AppendTag(b, pbLinks, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(linkBodySize(l)))
		b = protowire.AppendTag(b, pbHash, protowire.BytesType)
		b = protowire.AppendString(b, l.cid.KeyString())
		b = protowire.AppendTag(b, pbName, protowire.BytesType)
		b = protowire.AppendString(b, l.name)
		b = protowire.AppendTag(b, pbTsize, protowire.VarintType)
		b = protowire.AppendVarint(b, l.tsize)
	}
	b = protowire.AppendTag(b, pbData, protowire.BytesType)
	return protowire.AppendBytes(b, n.data)
}

// linkSize is the encoded size of l in a block.
func linkSize(l pbLink) int {
	n := linkBodySize(l)
	return 1 + varintSize(uint64(n)) + n
}

func linkBodySize(l pbLink) int {
	c := l.cid.ByteLen()
	return 1 + varintSize(uint64(c)) + c + 1 + varintSize(uint64(len(l.name))) + len(l.name) + 1 + varintSize(l.tsize)
}

func varintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
