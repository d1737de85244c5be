package dag

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// CAROptions configures WriteCAR.
type CAROptions struct {
	Version int                // 1 or 2; default 1
	Skip    func(cid.Cid) bool // skips a block and what is reachable only through it; may be nil
	// Opaque is called for blocks whose links cannot be read, as in [WalkOptions].
	Opaque func(c cid.Cid, why error) (links []cid.Cid, err error)
}

// WriteCAR writes the DAGs below roots as a CAR (https://ipld.io/specs/transport/car/): each block once, in the order
// of [Walk]. The same DAGs always yield the same bytes. Version 2 is written without an index, so that it can be
// streamed; its header contains the size, so the DAGs are walked twice. Blocks in identity CIDs are not written. A
// missing block is a *NotFoundError: then the CAR is incomplete.
func WriteCAR(ctx context.Context, w io.Writer, bs Blocks, roots []cid.Cid, o CAROptions) error {
	header := carHeader(roots)
	bw := bufio.NewWriterSize(w, 64<<10)
	switch o.Version {
	case 0, 1:
	case 2:
		size, err := carSize(ctx, bs, roots, o)
		if err != nil {
			return fmt.Errorf("find size of CAR: %w", err)
		}
		h := car.NewHeader(size + uint64(len(header)))
		h.IndexOffset = 0
		if _, err := bw.Write(car.Pragma); err != nil {
			return fmt.Errorf("write CAR: %w", err)
		}
		if _, err := h.WriteTo(bw); err != nil {
			return fmt.Errorf("write CAR: %w", err)
		}
	default:
		return fmt.Errorf("CAR version %d is not supported", o.Version)
	}
	if _, err := bw.Write(header); err != nil {
		return fmt.Errorf("write CAR: %w", err)
	}
	_, err := overlap(ctx, bw, func(ctx context.Context, emit func(func([]byte) ([]byte, error)) error) error {
		parts, _ := bs.(PartReader)
		return Walk(ctx, bs, roots, WalkOptions{Data: parts == nil, Blind: true, Skip: o.Skip, Opaque: o.Opaque}, func(v Visited) error {
			if IsIdentity(v.CID) {
				return nil
			}
			return emit(func(buf []byte) ([]byte, error) {
				if v.Block.cid.Defined() {
					return appendSection(buf, v.Block), nil
				}
				return leafSection(ctx, parts, v.CID, buf)
			})
		})
	})
	if err == nil {
		err = bw.Flush()
	}
	if err != nil {
		return fmt.Errorf("write CAR: %w", err)
	}
	return nil
}

func appendSection(buf []byte, b Block) []byte {
	name := b.cid.KeyString()
	buf = protowire.AppendVarint(buf, uint64(len(name)+len(b.data)))
	return append(append(buf, name...), b.data...)
}

// firstLeaf is the size of the leaf that fits into a new buffer; slack is the additional size of a larger one, in
// bytes.
const (
	firstLeaf = 16 << 10
	slack     = 4 << 10
)

// leafSection returns the section of block c in buf, or in a larger buffer. It reads the bytes to their final place,
// after enough room for the longest header.
func leafSection(ctx context.Context, parts PartReader, c cid.Cid, buf []byte) ([]byte, error) {
	name := c.KeyString()
	room := protowire.SizeVarint(uint64(len(name)+MaxBlock)) + len(name)
	if cap(buf) <= room {
		buf = make([]byte, room+firstLeaf)
	}
	for {
		buf = buf[:cap(buf)]
		n, size, err := parts.ReadPart(ctx, c, buf[room:], 0)
		if err != nil {
			return nil, err
		}
		if int64(n) == size {
			head := append(protowire.AppendVarint(nil, uint64(len(name)+n)), name...)
			b := buf[room-len(head) : room+n]
			copy(b, head)
			return b, nil
		}
		buf = make([]byte, room+int(size)+slack) // each use takes a byte or two from the front
	}
}

// carSize returns the total size of all sections.
func carSize(ctx context.Context, bs Blocks, roots []cid.Cid, o CAROptions) (uint64, error) {
	sizer, canSize := bs.(Sizer)
	total := uint64(0)
	err := Walk(ctx, bs, roots, WalkOptions{Data: !canSize, Skip: o.Skip, Opaque: o.Opaque}, func(v Visited) error {
		if IsIdentity(v.CID) {
			return nil
		}
		size := int64(len(v.Block.data))
		if !v.Block.cid.Defined() {
			var err error
			if size, err = sizer.Size(ctx, v.CID); err != nil {
				return err
			}
		}
		body := uint64(v.CID.ByteLen()) + uint64(size)
		total += uint64(varintSize(body)) + body
		return nil
	})
	return total, err
}

// carHeader returns the length and the dag-cbor encoding of {"roots": roots, "version": 1}.
func carHeader(roots []cid.Cid) []byte {
	b := append([]byte{0xa2, 0x65}, "roots"...)
	b = appendCBORHead(b, cborArray, uint64(len(roots)))
	for _, c := range roots {
		b = appendCBORLink(b, c)
	}
	b = append(append(b, 0x67), "version\x01"...)
	return append(protowire.AppendVarint(nil, uint64(len(b))), b...)
}

// appendCBORLink appends tag 42 and a CID.
func appendCBORLink(b []byte, c cid.Cid) []byte {
	b = append(b, 0xd8, 42)
	b = appendCBORHead(b, cborBytes, uint64(c.ByteLen())+1)
	return append(append(b, 0), c.KeyString()...)
}

func appendCBORHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major<<5|byte(n))
	case n < 1<<8:
		return append(b, major<<5|24, byte(n))
	case n < 1<<16:
		return append(b, major<<5|25, byte(n>>8), byte(n))
	}
	return append(b, major<<5|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
