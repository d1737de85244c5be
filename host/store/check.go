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

// Damage is one damaged block or unexpected file.
type Damage struct {
	CID   cid.Cid // of the block, with codec raw: files do not record the codec. Undefined if it is not a block
	Where string  // the file
	Err   error   // what is wrong with the block or file
}

// Checked is the result of a check.
type Checked struct {
	Blocks  int   // including damaged ones
	Bytes   int64 // size of the intact blocks
	Damaged int
	Foreign int // files that are not blocks and should not be there
}

// Usage is the size of a repo's content.
type Usage struct {
	Blocks int
	Bytes  int64 // of their data
	Disk   int64 // disk space used by the segments, including garbage
}

var errForeign = errors.New("not a block file; move it out of the repo")

// Check reads and hashes every block, on all cores. It calls damaged, one call at a time, for each damaged block and
// each file that is not a block. The store stays usable; blocks put or collected in the meantime may be missing from
// the result. The error is about the check itself.
func (s *Store) Check(ctx context.Context, damaged func(Damage)) (Checked, error) {
	if err := s.enter(ctx); err != nil {
		return Checked{}, err
	}
	defer s.leave()

	group, inner := errgroup.WithContext(ctx)
	entries := make(chan entry)
	verdicts := make(chan checkResult)
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
				verdicts <- s.checkEntry(e)
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
		return sum, fmt.Errorf("check repo %s: not completed: %w", s.dir, err)
	}
	return sum, nil
}

// checkResult is the result for one entry.
type checkResult struct {
	entry
	size int64
	err  error // nil: intact; errAbsent: collected in the meantime
}

// checkEntry reads and hashes the block of e.
func (s *Store) checkEntry(e entry) checkResult {
	if e.Err != nil {
		return checkResult{e, 0, e.Err}
	}
	if e.Key == nil {
		return checkResult{e, 0, errForeign}
	}
	data, err := s.blocks.Get(e.Key)
	if err == nil {
		err = rehash(e.Key, data)
	}
	return checkResult{e, int64(len(data)), err}
}

func (sum *Checked) count(v checkResult, damaged func(Damage)) {
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
		d.Err = errors.New(bad.Why) // Where already names the file
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
