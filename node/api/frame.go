package api

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
)

// A streamed answer is a sequence of frames: a type byte, the length of the payload as a big-endian
// uint32, the payload. Exactly one frame of type frameEnd is the last. A stream without it was cut
// off.
const (
	frameStdout   = 'o' // bytes that the guest printed, at most maxChunk
	frameStderr   = 'e'
	frameProgress = 'p' // done and total, two big-endian int64
	frameEvent    = 'v' // JSON: an Event, at most maxEvent
	frameBlock    = 'b' // a block: its CID, then its bytes
	frameItem     = 'i' // JSON: one element of a list, at most maxJSON
	frameEnd      = 'z' // JSON: an ending
)

// Bounds of messages, in bytes.
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

// readFrame reads one frame into buf, which it grows as needed. A stream that ends inside a frame
// or before a frameEnd is io.ErrUnexpectedEOF.
func readFrame(r io.Reader, buf []byte) (typ byte, payload []byte, err error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, unexpectedEOF(err)
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
		return 0, nil, fmt.Errorf("API frame of unknown type %#02x", h[0])
	}
	if n > limit || (h[0] == frameProgress && n != limit) {
		return 0, nil, fmt.Errorf("API frame of type %q: got %d bytes, want at most %d", h[0], n, limit)
	}
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return 0, nil, unexpectedEOF(err)
	}
	return h[0], buf, nil
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Blocks are encoded as in a CAR: the length of CID and bytes as a uvarint, the CID, the bytes.

func blockHeader(b Block) []byte {
	h := binary.AppendUvarint(make([]byte, 0, 10+maxCID), uint64(b.CID.ByteLen()+len(b.Data)))
	return append(h, b.CID.Bytes()...)
}

// readBlock reads one block without checking its hash. It returns io.EOF at the end.
func readBlock(r *bufio.Reader) (Block, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return Block{}, err // io.EOF before the first byte, io.ErrUnexpectedEOF after it
	}
	if n == 0 || n > MaxBlock+maxCID {
		return Block{}, fmt.Errorf("API block frame: got %d bytes, want 1 to %d", n, MaxBlock+maxCID)
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(r, buf); err != nil {
		return Block{}, unexpectedEOF(err)
	}
	return parseBlock(buf)
}

// parseBlock splits buf into a CID and the bytes after it, without a copy.
func parseBlock(buf []byte) (Block, error) {
	l, c, err := cid.CidFromBytes(buf)
	if err != nil {
		return Block{}, fmt.Errorf("API block frame: %w", err)
	}
	if l > maxCID || len(buf)-l > MaxBlock {
		return Block{}, fmt.Errorf("API block frame: got a CID of %d bytes and a block of %d bytes, want at most %d and %d", l, len(buf)-l, maxCID, MaxBlock)
	}
	return Block{CID: c, Data: buf[l:]}, nil
}
