package wasm

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// minCharge is the least that a block counts towards the output limit. It is more than the
// host's memory for the block, so that the limit bounds that memory too.
const minCharge = 4096

// made is the set of blocks that a run can see. It records which of them the run made.
type made struct {
	dag.Blocks
	limit  uint64 // bytes
	used   uint64
	blocks map[[16]byte]int // size by digest of the CID
}

func newMade(bs dag.Blocks, limit uint64) *made {
	return &made{Blocks: bs, limit: limit, blocks: map[[16]byte]int{}}
}

// charge deducts n bytes from the output limit, at least minCharge. It returns a
// *runtime.QuotaError if fewer are left.
func (m *made) charge(n int) error {
	size := uint64(max(n, minCharge))
	if size > m.limit-m.used {
		return &runtime.QuotaError{Code: job.QuotaOut}
	}
	m.used += size
	return nil
}

// Put implements dag.Blocks.
func (m *made) Put(ctx context.Context, bs ...dag.Block) error {
	for _, b := range bs {
		k := issuedKey(b.CID())
		if _, ok := m.blocks[k]; ok {
			continue
		}
		if err := m.charge(len(b.Data())); err != nil {
			return err
		}
		m.blocks[k] = len(b.Data())
	}
	return m.Blocks.Put(ctx, bs...)
}

// ReadPart implements dag.PartReader.
func (m *made) ReadPart(ctx context.Context, c cid.Cid, p []byte, off int64) (n int, size int64, err error) {
	return dag.ReadPart(ctx, m.Blocks, c, p, off)
}

// below walks what the run made below root. It returns the bytes of its distinct blocks, and
// the links from them to blocks that the run did not make, sorted, without duplicates. It does
// not read those blocks.
func (m *made) below(ctx context.Context, root cid.Cid) (size uint64, refs []cid.Cid, err error) {
	seen := map[[16]byte]struct{}{}
	stack := []cid.Cid{root}
	for len(stack) > 0 {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		k := issuedKey(c)
		if _, ok := seen[k]; ok {
			continue
		}
		seen[k] = struct{}{}
		n, ok := m.blocks[k]
		if !ok {
			refs = append(refs, c)
			continue
		}
		size += uint64(n)
		if c.Type() == cid.Raw {
			continue
		}
		b, err := dag.Load(ctx, m.Blocks, c)
		if err != nil {
			return 0, nil, err
		}
		links, err := dag.Links(b)
		var unsupported *dag.UnsupportedError
		if err != nil && !errors.As(err, &unsupported) {
			return 0, nil, err
		}
		stack = append(stack, links...)
	}
	slices.SortFunc(refs, func(a, b cid.Cid) int { return bytes.Compare(a.Bytes(), b.Bytes()) })
	return size, refs, nil
}
