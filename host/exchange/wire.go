package exchange

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/multiformats/go-varint"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// A request is a frame (a varint length and as many bytes) of DAG-CBOR: a map of one entry, from "want" or "have" to
// a list of links. The answer to a want is one frame per link, in the same order; the answer to a have is one frame
// for all links.
const (
	opWant = "want"
	opHave = "have"

	maxRequest = 64 << 10 // bytes of a request
	maxCIDs    = 1024     // links of a request
	perRequest = 256      // links in a request of a session: also the longest ones fit
)

// The first byte of an answer to a want, and each byte of an answer to a have.
const (
	isHere    = 0 // for a want: the block's bytes follow
	isMissing = 1 // the block is not here
	isRefused = 2 // the peer may not have the block, whether it is here or not
)

type request struct {
	op   string
	cids []cid.Cid
}

func (r request) encode() ([]byte, error) {
	n, err := qp.BuildMap(basicnode.Prototype.Any, 1, func(m datamodel.MapAssembler) {
		qp.MapEntry(m, r.op, qp.List(int64(len(r.cids)), func(l datamodel.ListAssembler) {
			for _, c := range r.cids {
				qp.ListEntry(l, qp.Link(cidlink.Link{Cid: c}))
			}
		}))
	})
	if err != nil {
		return nil, fmt.Errorf("encode block request: %w", err)
	}
	var b bytes.Buffer
	if err := dagcbor.Encode(n, &b); err != nil {
		return nil, fmt.Errorf("encode block request: %w", err)
	}
	return b.Bytes(), nil
}

// decodeRequest accepts only the output of encode.
func decodeRequest(b []byte) (request, error) {
	nb := basicnode.Prototype.Any.NewBuilder()
	opts := dagcbor.DecodeOptions{AllowLinks: true, AllocationBudget: 16 * maxRequest, MaxDepth: 4}
	if err := opts.Decode(nb, bytes.NewReader(b)); err != nil {
		return request{}, fmt.Errorf("decode block request: %w", err)
	}
	n := nb.Build()
	if n.Kind() != datamodel.Kind_Map || n.Length() != 1 {
		return request{}, errors.New("decode block request: want a map of one entry")
	}
	k, list, err := n.MapIterator().Next()
	if err != nil {
		return request{}, fmt.Errorf("decode block request: %w", err)
	}
	r := request{}
	if r.op, err = k.AsString(); err != nil || r.op != opWant && r.op != opHave {
		return request{}, fmt.Errorf("decode block request: unknown operation %.40q", r.op)
	}
	if r.cids, err = readLinks(list); err != nil {
		return request{}, fmt.Errorf("decode block request: %w", err)
	}
	canon, err := r.encode()
	if err == nil && !bytes.Equal(b, canon) {
		err = errors.New("decode block request: not canonical")
	}
	return r, err
}

func readLinks(list datamodel.Node) ([]cid.Cid, error) {
	if list.Kind() != datamodel.Kind_List || list.Length() < 1 || list.Length() > maxCIDs {
		return nil, fmt.Errorf("want a list of 1 to %d CIDs", maxCIDs)
	}
	cids := make([]cid.Cid, 0, list.Length())
	for it := list.ListIterator(); !it.Done(); {
		_, e, err := it.Next()
		if err != nil {
			return nil, err
		}
		l, err := e.AsLink()
		if err != nil {
			return nil, err
		}
		c, ok := l.(cidlink.Link)
		if !ok || c.Cid.ByteLen() > abi.MaxCID {
			return nil, fmt.Errorf("CID is too long, want at most %d bytes", abi.MaxCID)
		}
		cids = append(cids, c.Cid)
	}
	return cids, nil
}

func appendFrame(dst []byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	dst = protowire.AppendVarint(dst, uint64(n))
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return dst
}

// maxAnswer is the size in bytes of the largest answer to a want.
const maxAnswer = 1 + dag.MaxBlock

// readFrame reads a frame of at most limit bytes.
func readFrame(r *bufio.Reader, limit int) ([]byte, error) {
	n, err := varint.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n == 0 || n > uint64(limit) {
		return nil, fmt.Errorf("block exchange frame: got %d bytes, want 1 to %d", n, limit)
	}
	b := make([]byte, n)
	if k, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("block exchange frame: got %d bytes, want %d: %w", k, n, noEOF(err))
	}
	return b, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
