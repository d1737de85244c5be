package dag

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/multiformats/go-varint"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// maxCARHeader limits the header of a CAR, in bytes: about 25,000 roots.
const maxCARHeader = 1 << 20

// CARError describes what is wrong with a CAR, and where.
type CARError struct {
	Offset int64 // from the start of the CAR
	Err    error
}

func (e *CARError) Error() string { return fmt.Sprintf("bad CAR at byte %d: %v", e.Offset, e.Err) }
func (e *CARError) Unwrap() error { return e.Err }

// ReadCAR reads a CAR, version 1 or 2, checks each block against its CID and passes the blocks to put, in order, one
// at a time. It returns the roots, which need not be among the blocks. A bad CAR is a *CARError; an error of put is
// returned as it is. An end inside a section is an error, but in version 1 an end between two sections cannot be
// distinguished from a complete CAR: importers must also check that the DAG is complete. Blocks are hashed on all
// cores while more is read.
func ReadCAR(ctx context.Context, r io.Reader, put func(Block) error) ([]cid.Cid, error) {
	return readCAR(ctx, r, &carPipe{put: put})
}

// IndexCAR is like ReadCAR, for callers that only need the location of each block. It calls found with each block and
// the offset of the block's bytes in the CAR: from several goroutines, in any order, and the bytes are reused when
// found returns. After an error, found may have been called with some of the later blocks too.
func IndexCAR(ctx context.Context, r io.Reader, found func(b Block, at int64) error) ([]cid.Cid, error) {
	return readCAR(ctx, r, &carPipe{found: found})
}

// ImportCAR is like ReadCAR, but puts the blocks into bs, several with each Put, from several goroutines. After an
// error, some of the later blocks may have been put too.
func ImportCAR(ctx context.Context, r io.Reader, bs Blocks) ([]cid.Cid, error) {
	return readCAR(ctx, r, &carPipe{bs: bs})
}

func readCAR(ctx context.Context, r io.Reader, p *carPipe) ([]cid.Cid, error) {
	c := &carReader{r: bufio.NewReaderSize(r, 64<<10), left: -1}
	roots, err := c.start()
	if err != nil {
		return nil, &CARError{c.at, err}
	}
	if err := p.run(ctx, c); err != nil {
		return nil, err
	}
	return roots, nil
}

// carReader reads a CAR and tracks its offset.
type carReader struct {
	r    *bufio.Reader
	off  int64 // bytes read
	at   int64 // offset of the current header or section
	left int64 // unread bytes of a version 2 CAR's payload; -1: no limit
}

// start reads up to the first section and returns the roots.
func (c *carReader) start() ([]cid.Cid, error) {
	version, roots, err := c.header()
	if err != nil || version == 1 {
		return roots, err
	}
	c.at = c.off
	var h car.Header
	n, err := h.ReadFrom(c.r)
	c.off += n
	if err != nil {
		return nil, fmt.Errorf("CARv2 header: %w", noEOF(err))
	}
	if int64(h.DataOffset) < c.off {
		return nil, fmt.Errorf("CARv2 payload offset %d is inside the header", h.DataOffset)
	}
	skip := int64(h.DataOffset) - c.off
	k, err := io.CopyN(io.Discard, c.r, skip)
	c.off += k
	if err != nil {
		return nil, fmt.Errorf("CARv2 padding of %d bytes: %w", skip, noEOF(err))
	}
	c.left = int64(h.DataSize)
	if version, roots, err = c.header(); err != nil {
		return nil, err
	}
	if version != 1 {
		return nil, fmt.Errorf("CAR version %d inside a CARv2, want 1", version)
	}
	return roots, nil
}

// header reads a length and a dag-cbor header of that length.
func (c *carReader) header() (version int64, roots []cid.Cid, err error) {
	c.at = c.off
	b, _, err := c.frame(maxCARHeader, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("CAR header: %w", noEOF(err))
	}
	if _, err := cborLinks(b); err != nil {
		return 0, nil, fmt.Errorf("CAR header: %w", err)
	}
	nb := basicnode.Prototype.Map.NewBuilder()
	if err := (dagcbor.DecodeOptions{AllowLinks: true}).Decode(nb, bytes.NewReader(b)); err != nil {
		return 0, nil, fmt.Errorf("CAR header: %w", err)
	}
	return headerFields(nb.Build())
}

func headerFields(n datamodel.Node) (version int64, roots []cid.Cid, err error) {
	v, err := n.LookupByString("version")
	if err == nil {
		version, err = v.AsInt()
	}
	if err != nil {
		return 0, nil, errors.New("CAR header: no version")
	}
	if version == 2 && n.Length() == 1 {
		return 2, nil, nil
	}
	if version != 1 {
		return 0, nil, fmt.Errorf("CAR header: version %d", version)
	}
	list, err := n.LookupByString("roots")
	if err != nil || list.Kind() != datamodel.Kind_List {
		return 0, nil, errors.New("CAR header: no list of roots")
	}
	for it := list.ListIterator(); !it.Done(); {
		i, v, err := it.Next()
		if err != nil {
			return 0, nil, fmt.Errorf("CAR header: root %d: %w", i, err)
		}
		l, err := v.AsLink()
		if err != nil {
			return 0, nil, fmt.Errorf("CAR header: root %d is not a link", i)
		}
		roots = append(roots, l.(cidlink.Link).Cid)
	}
	return version, roots, nil
}

// section reads the next block without checking it; io.EOF is the end of the CAR. If the bytes fit into memory, they
// are at its start, and rest is the remainder of memory.
func (c *carReader) section(memory []byte) (name cid.Cid, data, rest []byte, err error) {
	c.at = c.off
	b, rest, err := c.frame(abi.MaxCID+MaxBlock, memory)
	switch {
	case err == io.EOF && c.left > 0:
		err = fmt.Errorf("CAR ends %d bytes before the end of its payload", c.left)
	case err == io.EOF && c.left == 0:
		err = c.drain()
	}
	if err != nil {
		return cid.Undef, nil, nil, err
	}
	n, name, err := cid.CidFromBytes(b)
	if err != nil {
		return cid.Undef, nil, nil, fmt.Errorf("CAR section: bad CID: %w", err)
	}
	return name, b[n:], rest, nil
}

// drain reads the index after the payload of version 2, so that a program that writes the CAR to a pipe does not
// block.
func (c *carReader) drain() error {
	if _, err := io.Copy(io.Discard, c.r); err != nil {
		return fmt.Errorf("read CAR after its payload: %w", err)
	}
	return io.EOF
}

// frame reads a varint length and that many bytes, to the start of memory if they fit. io.EOF is an end before the
// length.
func (c *carReader) frame(limit uint64, memory []byte) (b, rest []byte, err error) {
	n, err := c.length()
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, errors.New("empty CAR header or section")
	}
	if n > limit {
		return nil, nil, fmt.Errorf("CAR header or section of %d bytes is over the limit of %d", n, limit)
	}
	if c.left >= 0 && int64(n) > c.left {
		return nil, nil, fmt.Errorf("CAR header or section of %d bytes, but the payload has %d left", n, c.left)
	}
	if uint64(len(memory)) >= n {
		b, rest = memory[:n:n], memory[n:]
	} else {
		b, rest = make([]byte, n), memory
	}
	k, err := io.ReadFull(c.r, b)
	c.advance(k)
	if err != nil {
		return nil, nil, fmt.Errorf("CAR ends %d bytes into a section of %d: %w", k, n, noEOF(err))
	}
	return b, rest, nil
}

// length reads an unsigned varint of at most 9 bytes in its shortest form; io.EOF is an end before it.
func (c *carReader) length() (uint64, error) {
	n, err := varint.ReadUvarint(c)
	if err != nil && err != io.EOF {
		return 0, fmt.Errorf("length of CAR header or section: %w", err)
	}
	return n, err
}

// ReadByte reads the next byte of the CAR, or of the payload in version 2.
func (c *carReader) ReadByte() (byte, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	octet, err := c.r.ReadByte()
	if err == nil {
		c.advance(1)
	}
	return octet, err
}

func (c *carReader) advance(n int) {
	c.off += int64(n)
	if c.left > 0 {
		c.left -= int64(n)
	}
}

// noEOF converts io.EOF in the middle of an item to io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
