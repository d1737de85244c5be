package host

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// The protocols of this package exchange frames: a uvarint with the frame's length, then
// items, each a byte that says what it is, a uvarint with its length, and its bytes. What
// is in an item is a format of package job, or a few bytes of text.
type item struct {
	kind byte
	data []byte
}

// The kinds of items, append-only. Who meets an unknown one skips it.
const (
	itemVersion    = 'v' // 1: of the protocol's revision, for people who look at a dump
	itemCluster    = 'f' // did:key of the cluster
	itemMembership = 'm' // envelope
	itemDelegation = 'd' // envelope; belongs to the membership or revocation before it
	itemDigest     = 'g' // of the revocations that are known, 32 bytes
	itemRevocation = 'r' // envelope
	itemCapacity   = 'c' // envelope
	itemHint       = 'h'
	itemAddrs      = 'a' // a signed libp2p peer record
	itemDID        = 'w' // who is asked about
	itemSecret     = 's' // of an invitation
	itemRefusal    = 'x' // a sentence
)

const (
	maxGreeting = 32 << 10 // bytes of a frame from somebody who may be nobody
	maxExtras   = 1 << 20  // bytes of a frame from a member
	maxItems    = 4096
	maxReason   = 300
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

// sizeOf returns how many bytes items take in a frame, at most.
func sizeOf(items []item) int {
	n := 0
	for _, it := range items {
		n += 1 + binary.MaxVarintLen32 + len(it.data)
	}
	return n
}

// readFrame reads one frame of at most limit bytes. Memory is taken as bytes arrive.
func readFrame(r *bufio.Reader, limit int) ([]item, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, fmt.Errorf("a frame of %d bytes, at most %d", n, limit)
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
			return nil, fmt.Errorf("a frame that is cut off at item %d", len(items))
		}
		if len(items) == maxItems {
			return nil, fmt.Errorf("a frame of over %d items", maxItems)
		}
		end := 1 + used + int(size)
		items = append(items, item{body[0], body[1+used : end]})
		body = body[end:]
	}
	return items, nil
}

// first returns the data of the first item of a kind, nil if there is none.
func first(items []item, kind byte) []byte {
	for _, it := range items {
		if it.kind == kind {
			return it.data
		}
	}
	return nil
}

// refusal returns the sentence of a refusal, made fit to be shown.
func refusal(items []item) (string, bool) {
	why := first(items, itemRefusal)
	if why == nil {
		return "", false
	}
	return printable(string(why[:min(len(why), maxReason)])), true
}
