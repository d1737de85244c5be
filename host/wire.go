package host

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// The protocols of this package exchange frames: a uvarint with the frame's length, then items. An item is a byte for
// its kind, a uvarint with its length, and its data. The data is in a format of package job, or a few bytes of text.
type item struct {
	kind byte
	data []byte
}

// The kinds of items, append-only. A reader skips unknown kinds.
const (
	itemVersion    = 'v' // 1: revision of the protocol, for people who read a dump
	itemCluster    = 'f' // did:key of the cluster
	itemMembership = 'm' // envelope
	itemDelegation = 'd' // envelope; belongs to the membership or revocation before it
	itemDigest     = 'g' // of the known revocations, 32 bytes
	itemRevocation = 'r' // envelope
	itemCapacity   = 'c' // envelope
	itemHint       = 'h'
	itemAddrs      = 'a' // a signed libp2p peer record
	itemDID        = 'w' // the peer that is looked up
	itemSecret     = 's' // of an invitation
	itemRefusal    = 'x' // a sentence
)

const (
	maxUnknownFrame = 32 << 10 // bytes of a frame from a peer that may be unknown
	maxMemberFrame  = 1 << 20  // bytes of a frame from a member
	maxItems        = 4096
	maxReason       = 300
)

func writeFrame(w io.Writer, items []item) error {
	var body []byte
	for _, it := range items {
		body = append(body, it.kind)
		body = binary.AppendUvarint(body, uint64(len(it.data)))
		body = append(body, it.data...)
	}
	_, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(body))), body...))
	return err
}

// sizeOf returns an upper bound of the bytes that items take in a frame.
func sizeOf(items []item) int {
	n := 0
	for _, it := range items {
		n += 1 + binary.MaxVarintLen32 + len(it.data)
	}
	return n
}

// readFrame reads one frame of at most limit bytes. Memory grows with the bytes that arrive.
func readFrame(r *bufio.Reader, limit int) ([]item, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, fmt.Errorf("frame from peer: got %d bytes, want at most %d", n, limit)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && uint64(len(body)) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	var items []item
	for len(body) > 0 {
		size, used := binary.Uvarint(body[1:])
		if used <= 0 || size > uint64(len(body)-1-used) {
			return nil, fmt.Errorf("frame from peer: item %d is truncated", len(items))
		}
		if len(items) == maxItems {
			return nil, fmt.Errorf("frame from peer: more than %d items", maxItems)
		}
		end := 1 + used + int(size)
		items = append(items, item{body[0], body[1+used : end]})
		body = body[end:]
	}
	return items, nil
}

// first returns the data of the first item of a kind, or nil.
func first(items []item, kind byte) []byte {
	for _, it := range items {
		if it.kind == kind {
			return it.data
		}
	}
	return nil
}

// refusal returns the text of a refusal, made safe for a terminal.
func refusal(items []item) (string, bool) {
	why := first(items, itemRefusal)
	if why == nil {
		return "", false
	}
	return printable(string(why[:min(len(why), maxReason)])), true
}
