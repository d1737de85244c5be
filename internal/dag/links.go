package dag

import (
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multicodec"
)

// Links returns the links of b in the order of its bytes, a link that stands there
// twice two times: none for raw, those of dag-pb and of dag-cbor. The error is a
// *FormatError for bytes that are not what the codec says and an *UnsupportedError
// for any other codec.
func Links(b Block) ([]cid.Cid, error) {
	switch b.cid.Type() {
	case cid.Raw:
		return nil, nil
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
	}
	return nil, &UnsupportedError{b.cid, "codec " + codecName(b.cid.Type())}
}

// hasLinks reports whether Links knows codec and finds links in it.
func hasLinks(codec uint64) bool { return codec == cid.DagProtobuf || codec == cid.DagCBOR }

func codecName(codec uint64) string { return multicodec.Code(codec).String() }
