package dag

import (
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multicodec"
)

// Links returns the links of b in byte order, with repetitions: those of dag-pb, dag-cbor and dag-json, and none for
// codecs without links, see [IsLeaf]. The error is a *FormatError if the bytes are not valid for the codec, and an
// *UnsupportedError for any other codec: then b is opaque, and its links are unknown.
func Links(b Block) ([]cid.Cid, error) {
	switch b.cid.Type() {
	case cid.DagProtobuf:
		n, err := parsePB(b.data)
		if err != nil {
			return nil, formatErrorf(b.cid, "dag-pb: %v", err)
		}
		links := make([]cid.Cid, len(n.links))
		for i, l := range n.links {
			links[i] = l.cid
		}
		return links, nil
	case cid.DagCBOR:
		links, err := cborLinks(b.data)
		if err != nil {
			return nil, formatErrorf(b.cid, "dag-cbor: %v", err)
		}
		return links, nil
	case cid.DagJSON:
		links, err := jsonLinks(b.data)
		if err != nil {
			return nil, formatErrorf(b.cid, "dag-json: %v", err)
		}
		return links, nil
	}
	if IsLeaf(b.cid.Type()) {
		return nil, nil
	}
	return nil, unknownCodec(b.cid)
}

func unknownCodec(c cid.Cid) error {
	return &UnsupportedError{c, "codec " + codecName(c.Type())}
}

// HasLinks reports whether [Links] can read the links of codec.
func HasLinks(codec uint64) bool {
	return codec == cid.DagProtobuf || codec == cid.DagCBOR || codec == cid.DagJSON
}

// IsLeaf reports whether blocks of codec never have links: raw, json and cbor, which have no encoding for them
// (https://ipld.io/docs/codecs/known/), and libp2p-key, a public key.
func IsLeaf(codec uint64) bool {
	switch multicodec.Code(codec) {
	case multicodec.Raw, multicodec.Json, multicodec.Cbor, multicodec.Libp2pKey:
		return true
	}
	return false
}

func codecName(codec uint64) string { return multicodec.Code(codec).String() }
