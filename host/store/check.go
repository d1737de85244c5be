package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"
)

// Damage is one thing among the blocks that is not what it should be.
type Damage struct {
	CID   cid.Cid // of the block, with codec raw: a file does not know its codec. Undefined for what is no block
	Where string  // the file
	Err   error   // what is wrong with it
}

// Verified is what a verification saw.
type Checked struct {
	Blocks  int   // with the damaged ones
	Bytes   int64 // of the sound ones
	Damaged int
	Foreign int // things that are not blocks and should not be where they are
}

// Usage is how much a repo holds.
type Usage struct {
	Blocks int
	Bytes  int64 // of their data
	Disk   int64 // what the files for large blocks take, garbage too
}

var errForeign = errors.New("it is not a block's file: move it elsewhere")

// Verify reads and hashes every block, on all cores, and calls damaged, one call at a
// time, for each that is wrong and for each thing that is no block. The store can be
// used meanwhile; blocks that are put or collected meanwhile may be left out. The
// error is about the verification itself.
func (s *Store) Check(ctx context.Context, damaged func(Damage)) (Checked, error) {
	if err := s.enter(ctx); err != nil {
		return Checked{}, err
	}
	defer s.leave()

	group, inner := errgroup.WithContext(ctx)
	entries := make(chan entry)
	verdicts := make(chan verdict)
	group.Go(func() error {
		defer close(entries)
		return s.blocks.Each(inner, func(e entry) error {
			select {
			case entries <- e:
				return nil
			case <-inner.Done():
				return context.Cause(inner)
			}
		})
	})
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for e := range entries {
				verdicts <- s.judge(e)
			}
		})
	}
	go func() {
		workers.Wait()
		close(verdicts)
	}()

	var sum Checked
	for v := range verdicts {
		sum.count(v, damaged)
	}
	err := group.Wait()
	if err == nil {
		err = s.verifyRecords(ctx, &sum, damaged)
	}
	if err != nil {
		return sum, fmt.Errorf("verify repo %s: %w", s.dir, err)
	}
	return sum, nil
}

// verdict is what was found in one entry.
type verdict struct {
	entry
	size int64
	err  error // nil: sound; errAbsent: it was collected meanwhile
}

// judge reads and hashes what e says is there.
func (s *Store) judge(e entry) verdict {
	if e.Err != nil {
		return verdict{e, 0, e.Err}
	}
	if e.Key == nil {
		return verdict{e, 0, errForeign}
	}
	data, err := s.blocks.Get(e.Key)
	if err == nil {
		err = rehash(e.Key, data)
	}
	return verdict{e, int64(len(data)), err}
}

func (sum *Checked) count(v verdict, damaged func(Damage)) {
	if errors.Is(v.err, errAbsent) {
		return
	}
	d := Damage{Where: v.Where, Err: v.err}
	if v.Key == nil && v.entry.Err == nil {
		sum.Foreign++
		damaged(d)
		return
	}
	if v.Key == nil {
		sum.Damaged++
		damaged(d)
		return
	}
	sum.Blocks++
	if v.err == nil {
		sum.Bytes += v.size
		return
	}
	sum.Damaged++
	d.CID = cid.NewCidV1(cid.Raw, v.Key)
	var bad *badFileError
	if errors.As(v.err, &bad) {
		d.Err = errors.New(bad.Why) // the file is named already
	}
	damaged(d)
}

// Stat counts the blocks.
func (s *Store) Stat(ctx context.Context) (Usage, error) {
	if err := s.enter(ctx); err != nil {
		return Usage{}, err
	}
	defer s.leave()
	var u Usage
	err := s.blocks.Each(ctx, func(e entry) error {
		if e.Key != nil {
			u.Blocks++
			u.Bytes += e.Size
		}
		return nil
	})
	if err != nil {
		return u, fmt.Errorf("count blocks: %w", err)
	}
	if u.Disk, err = s.used(); err != nil {
		return u, fmt.Errorf("count blocks: %w", err)
	}
	return u, nil
}
