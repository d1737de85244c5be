package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"golang.org/x/sync/errgroup"

	"github.com/ipfs-liftoff/liftoff/host/store/segment"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Tracked is a Session for a reader that signs results derived from the blocks. Blocks of attached files, to which
// other programs may write, are hashed at the first read in this process, regardless of the files' attributes, and
// compared with keyed checksums afterwards. Tracked also records them, for [Tracked.Recheck].
type Tracked struct {
	*Session
	max int // maximum length of list

	mu    sync.Mutex
	index map[string]int // position in list, by multihash
	list  []readBlock    // in the order of their first read
}

// readBlock is a block of an attached file, and the pages of it that were read.
type readBlock struct {
	key   multihash.Multihash
	pages uint32 // bit i: page i; a block has at most 32
}

// dag.MaxBlock is 32 pages.
var _ = [1]struct{}{}[(dag.MaxBlock-1)/segment.PageSize/32]

// maxTracked limits the list, at about 120 bytes per block: 256 GiB in blocks of 1 MiB. A read when the list is full
// immediately rechecks the blocks in it and empties it.
const maxTracked = 256 << 10

// Track returns the session's blocks for a run.
func (n *Session) Track() *Tracked { return &Tracked{Session: n, max: maxTracked} }

var (
	_ dag.Blocks        = (*Tracked)(nil)
	_ dag.Sizer         = (*Tracked)(nil)
	_ dag.PartReader    = (*Tracked)(nil)
	_ dag.CopyingPutter = (*Tracked)(nil)
)

// Get is [Session.Get].
func (t *Tracked) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	if err := t.hold(c); err != nil {
		return dag.Block{}, err
	}
	b, attached, err := t.store.read(ctx, c, true)
	if err == nil && attached {
		err = t.note(ctx, c.Hash(), len(b.Data()), 0)
	}
	if err != nil {
		return dag.Block{}, err
	}
	return b, nil
}

// ReadPart is [Session.ReadPart].
func (t *Tracked) ReadPart(ctx context.Context, c cid.Cid, p []byte, off int64) (n int, size int64, err error) {
	if err := t.hold(c); err != nil {
		return 0, 0, err
	}
	n, size, attached, err := t.store.readPart(ctx, c, p, off, true)
	if err == nil && attached {
		err = t.note(ctx, c.Hash(), n, off)
	}
	if err != nil {
		return 0, 0, err
	}
	return n, size, nil
}

// note records that n bytes of a block were read.
func (t *Tracked) note(ctx context.Context, key multihash.Multihash, n int, off int64) error {
	if n == 0 {
		return nil
	}
	from, last := uint(off/segment.PageSize), uint((off+int64(n)-1)/segment.PageSize)
	pages := uint32(uint64(1)<<(last+1) - uint64(1)<<from)
	t.mu.Lock()
	i, ok := t.index[string(key)]
	if ok {
		t.list[i].pages |= pages
		t.mu.Unlock()
		return nil
	}
	var full []readBlock
	if len(t.list) >= t.max {
		full, t.list, t.index = t.list, nil, nil
	}
	if t.index == nil {
		t.index = map[string]int{}
	}
	t.index[string(key)] = len(t.list)
	t.list = append(t.list, readBlock{key, pages})
	t.mu.Unlock()
	return t.store.recheck(ctx, full)
}

// Recheck reads the recorded pages of attached files again and compares them with their checksums. An error names the
// file that has changed: results derived from it must not be signed. Blocks that are no longer attached are skipped:
// they matched their multihash when they were read.
//
// It costs a second read of the same pages and their checksums: 0.15 ms for 1 MiB in memory, on all processors.
func (t *Tracked) Recheck(ctx context.Context) error {
	t.mu.Lock()
	list := t.list
	t.list, t.index = nil, nil
	t.mu.Unlock()
	return t.store.recheck(ctx, list)
}

func (s *Store) recheck(ctx context.Context, list []readBlock) error {
	if len(list) == 0 {
		return nil
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			buf := make([]byte, dag.MaxBlock)
			for {
				i := next.Add(1) - 1
				if i >= int64(len(list)) {
					return nil
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := s.recheckBlock(list[i], buf); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// recheckBlock reads the recorded pages of b again, into buf.
func (s *Store) recheckBlock(b readBlock, buf []byte) error {
	for page := 0; page < 32; {
		first := page
		for page < 32 && b.pages>>page&1 == 1 {
			page++
		}
		if page == first {
			page++
			continue
		}
		off := int64(first) * segment.PageSize
		_, _, _, err := s.attachments.readPart(b.key, buf[:(page-first)*segment.PageSize], off, true)
		if err != nil && !errors.Is(err, errAbsent) {
			c := cid.NewCidV1(cid.Raw, b.key)
			return fmt.Errorf("attached file changed while it was read: %w", blockError(c, "read", err))
		}
	}
	return nil
}
