package dag

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/node/basicnode"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// Decode returns a block's value in the IPLD data model: bytes for raw, a map with Data and Links for dag-pb, the
// value itself for dag-cbor. The error is a *FormatError, or an *UnsupportedError for another codec.
func Decode(b Block) (datamodel.Node, error) {
	switch b.cid.Type() {
	case cid.Raw:
		return basicnode.NewBytes(b.data), nil
	case cid.DagProtobuf:
		if _, err := parsePB(b.data); err != nil {
			return nil, formatErrorf(b.cid, "dag-pb: %v", err)
		}
		nb := basicnode.Prototype.Map.NewBuilder()
		if err := dagpb.DecodeBytes(nb, b.data); err != nil {
			return nil, formatErrorf(b.cid, "dag-pb: %v", err)
		}
		return nb.Build(), nil
	case cid.DagCBOR:
		if _, err := cborLinks(b.data); err != nil { // limits depth and lengths before a value is built
			return nil, formatErrorf(b.cid, "dag-cbor: %v", err)
		}
		nb := basicnode.Prototype.Any.NewBuilder()
		if err := decodeCBOR.Decode(nb, bytes.NewReader(b.data)); err != nil {
			return nil, formatErrorf(b.cid, "dag-cbor: %v", err)
		}
		return nb.Build(), nil
	}
	return nil, &UnsupportedError{b.cid, "codec " + codecName(b.cid.Type())}
}

// decodeCBOR decodes any value that fits into a block: cborLinks and the block size are the limits, and the library's
// own limits are set high enough. An item takes at least a byte of the block and at most 16 of the budget.
var decodeCBOR = dagcbor.DecodeOptions{AllowLinks: true, AllocationBudget: 16 * MaxBlock, MaxDepth: abi.MaxDepth + 1}

// HasJSON reports whether [BlockJSON] supports codec.
func HasJSON(codec uint64) bool { return codec == cid.Raw || HasLinks(codec) }

// WriteJSON writes a value as DAG-JSON (https://ipld.io/specs/codecs/dag-json/spec/), without a final newline.
func WriteJSON(w io.Writer, n datamodel.Node) error {
	if err := dagjson.Encode(n, w); err != nil {
		return fmt.Errorf("write DAG-JSON: %w", err)
	}
	return nil
}

// BlockJSON returns the block's value as one line of DAG-JSON. A dag-json block keeps the order of its keys and the
// text of its numbers and strings: only the white space between tokens is removed. Errors are those of [Decode], also
// for dag-json blocks.
func BlockJSON(b Block) ([]byte, error) {
	if b.cid.Type() == cid.DagJSON {
		if _, err := jsonLinks(b.data); err != nil {
			return nil, formatErrorf(b.cid, "dag-json: %v", err)
		}
		var buf bytes.Buffer
		if err := json.Compact(&buf, b.data); err != nil {
			return nil, formatErrorf(b.cid, "dag-json: %v", err)
		}
		return buf.Bytes(), nil
	}
	n, err := Decode(b)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := WriteJSON(&buf, n); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
