package api

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
)

// An answer that comes bit by bit is a stream of frames: a type byte, the payload's
// length as a big-endian uint32, the payload. One frame of type frameEnd is the last;
// a stream without it was cut off.
const (
	frameStdout   = 'o' // bytes that the guest printed, at most maxChunk
	frameStderr   = 'e'
	frameProgress = 'p' // done and total, two big-endian int64
	frameEvent    = 'v' // JSON: an Event, at most maxEvent
	frameBlock    = 'b' // a block: its CID, its bytes
	frameItem     = 'i' // JSON: one of a list, at most maxJSON
	frameEnd      = 'z' // JSON: an ending
)

// Bounds of what crosses the socket, in bytes.
const (
	MaxBlock    = 4 << 20 // a block
	maxChunk    = 64 << 10
	maxEvent    = 64 << 10
	maxJSON     = 16 << 20
	maxCID      = 160
	frameHeader = 5
)

// ending is the payload of a frameEnd.
type ending struct {
	Value []byte `json:"value,omitempty"` // JSON of what the call returns
	Err   *Error `json:"error,omitempty"`
}

// readFrame reads one frame into buf, which it grows as needed. A stream that ends
// before a frame does is io.ErrUnexpectedEOF, and so is one that ends between two:
// only frameEnd ends it well.
func readFrame(r io.Reader, buf []byte) (typ byte, payload []byte, err error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, unexpected(err)
	}
	n, limit := int64(binary.BigEndian.Uint32(h[1:])), int64(0)
	switch h[0] {
	case frameStdout, frameStderr:
		limit = maxChunk
	case frameProgress:
		limit = 16
	case frameEvent:
		limit = maxEvent
	case frameBlock:
		limit = MaxBlock + maxCID
	case frameItem, frameEnd:
		limit = maxJSON
	default:
		return 0, nil, fmt.Errorf("frame of unknown type %#02x", h[0])
	}
	if n > limit || (h[0] == frameProgress && n != limit) {
		return 0, nil, fmt.Errorf("frame of type %q with %d bytes", h[0], n)
	}
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return 0, nil, unexpected(err)
	}
	return h[0], buf, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Blocks travel as in a CAR: uvarint of the length of CID and bytes, CID, bytes.

func blockHeader(b Block) []byte {
	h := binary.AppendUvarint(make([]byte, 0, 10+maxCID), uint64(b.CID.ByteLen()+len(b.Data)))
	return append(h, b.CID.Bytes()...)
}

// readBlock reads one block, whose hash it does not check, or io.EOF at the end.
func readBlock(r *bufio.Reader) (Block, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return Block{}, err // io.EOF before the first byte, io.ErrUnexpectedEOF after it
	}
	if n == 0 || n > MaxBlock+maxCID {
		return Block{}, fmt.Errorf("block frame of %d bytes, at most %d", n, MaxBlock+maxCID)
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(r, buf); err != nil {
		return Block{}, unexpected(err)
	}
	return parseBlock(buf)
}

// parseBlock parts a CID and the bytes behind it, which it does not copy.
func parseBlock(buf []byte) (Block, error) {
	l, c, err := cid.CidFromBytes(buf)
	if err != nil {
		return Block{}, fmt.Errorf("block frame: %w", err)
	}
	if l > maxCID || len(buf)-l > MaxBlock {
		return Block{}, fmt.Errorf("block frame: CID of %d bytes, block of %d bytes", l, len(buf)-l)
	}
	return Block{CID: c, Data: buf[l:]}, nil
}
