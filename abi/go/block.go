package liftoff

import (
	"iter"
	"strconv"
)

// Codec is a multicodec: the encoding of a block's bytes.
type Codec uint32

// The codecs that a guest may write.
const (
	CodecRaw     Codec = 0x55
	CodecDagPB   Codec = 0x70
	CodecDagCBOR Codec = 0x71
)

// String returns the codec's name, or its number if this package has no name.
func (c Codec) String() string {
	switch c {
	case CodecRaw:
		return "raw"
	case CodecDagPB:
		return "dag-pb"
	case CodecDagCBOR:
		return "dag-cbor"
	}
	return "0x" + strconv.FormatUint(uint64(c), 16)
}

// Hash functions that the host computes for a guest, by their multihash codes.
const (
	SHA256 = 0x12
	SHA512 = 0x13
	BLAKE3 = 0x1e
)

// BlockSize returns the length of h's block in bytes.
func (h Handle) BlockSize() (int, error) {
	n, err := check("block_read", hostBlockRead(uint32(h), 0, nil, 0))
	return int(n), err
}

// Block returns the bytes of h's block.
func (h Handle) Block() ([]byte, error) {
	n, err := h.BlockSize()
	if err != nil {
		return nil, err
	}
	p := make([]byte, n)
	_, err = check("block_read", hostBlockRead(uint32(h), 0, ptr(p), size(p)))
	return p, err
}

// WriteBlock creates a block. Each link in data must be the CID of an object of which
// the guest has held a handle.
func WriteBlock(codec Codec, data []byte) (Handle, error) {
	n, err := check("block_write", hostBlockWrite(uint32(codec), ptr(data), size(data)))
	return Handle(n), err
}

// LinkCount returns the number of links in h's block.
func (h Handle) LinkCount() (int, error) {
	n, err := check("link_count", hostLinkCount(uint32(h)))
	return int(n), err
}

// Link opens the i-th link of h's block, counted in the order of the block's bytes.
func (h Handle) Link(i int) (Handle, error) {
	n, err := check("link", hostLink(uint32(h), uint32(i)))
	return Handle(n), err
}

// Links opens the links of h's block one after the other. The caller closes the
// handles. An error ends the sequence.
func (h Handle) Links() iter.Seq2[Handle, error] {
	return func(yield func(Handle, error) bool) {
		n, err := h.LinkCount()
		if err != nil {
			yield(0, err)
			return
		}
		for i := range n {
			link, err := h.Link(i)
			if !yield(link, err) || err != nil {
				return
			}
		}
	}
}

// Child opens the block named c, which must be a direct link of h's block.
func (h Handle) Child(c CID) (Handle, error) {
	p := []byte(c)
	n, err := check("child", hostChild(uint32(h), ptr(p), size(p)))
	return Handle(n), err
}

// Hash returns the digest of data under a multihash code, computed by the host: many
// times faster than in the guest.
func Hash(code uint32, data []byte) ([]byte, error) {
	out := make([]byte, 64) // the longest digest of a supported hash function
	n, err := check("hash", hostHash(code, ptr(data), size(data), ptr(out), size(out)))
	if err != nil {
		return nil, err
	}
	return out[:n], nil
}
