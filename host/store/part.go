package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

var (
	_ dag.PartReader    = (*Store)(nil)
	_ dag.PartReader    = (*Session)(nil)
	_ dag.CopyingPutter = (*Store)(nil)
	_ dag.CopyingPutter = (*Session)(nil)
)

// ReadPart copies the bytes of block c from off into p; see [dag.PartReader].
func (s *Store) ReadPart(ctx context.Context, c cid.Cid, p []byte, off int64) (n int, size int64, err error) {
	n, size, _, err = s.readPart(ctx, c, p, off, false)
	return n, size, err
}

// readPart is ReadPart. With hashed, an attached block is hashed instead of only checked by its checksum; attached
// reports whether it was one.
func (s *Store) readPart(ctx context.Context, c cid.Cid, p []byte, off int64, hashed bool) (n int, size int64, attached bool, err error) {
	if err := s.enter(ctx); err != nil {
		return 0, 0, false, err
	}
	defer s.leave()
	s.touch(c)
	if _, ok := identityData(c); ok || s.cfg.Verify || !c.Defined() || len(c.Hash()) > maxKey {
		b, attached, err := s.getFrom(c, hashed)
		if err != nil {
			return 0, 0, false, err
		}
		n, size, err = copyPart(p, b.Data(), off)
		return n, size, attached, err
	}
	n, size, err = readPart(s.blocks, c.Hash(), p, off)
	if errors.Is(err, errAbsent) {
		n, size, attached, err = s.attachments.readPart(c.Hash(), p, off, hashed)
	}
	if err != nil {
		return 0, 0, false, blockError(c, "read", err)
	}
	return n, size, attached, nil
}

func copyPart(p, data []byte, off int64) (n int, size int64, err error) {
	if off < 0 {
		return 0, 0, fmt.Errorf("read block: negative offset %d", off)
	}
	return copy(p, data[min(off, int64(len(data))):]), int64(len(data)), nil
}

// PutCopies marks that Put does not retain the bytes of its blocks: they are on disk.
func (s *Store) PutCopies() {}

// ReadPart is [Store.ReadPart]; the block is retained until End.
func (n *Session) ReadPart(ctx context.Context, c cid.Cid, p []byte, off int64) (int, int64, error) {
	if err := n.hold(c); err != nil {
		return 0, 0, err
	}
	return n.store.ReadPart(ctx, c, p, off)
}

// PutCopies is [Store.PutCopies].
func (n *Session) PutCopies() {}
