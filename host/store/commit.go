package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Batch is the result of a run. It is stored atomically: completely or not at all, whenever the process is killed. A
// batch that only removes records may be applied in part.
type Batch struct {
	Blocks  []dag.Block // blocks larger than smallBlock go to segments, before the rest
	Pins    []Pin
	Records []Record
}

// removes reports whether b only removes records, for which there is reserved space on a full disk.
func (b Batch) removes() bool {
	return len(b.Blocks)+len(b.Pins) == 0 && !slices.ContainsFunc(b.Records, func(r Record) bool { return !r.Delete })
}

// Record is a named value for the node's own use. Collect does not touch records.
type Record struct {
	Name   string // at most 1 KiB
	Value  []byte
	Delete bool
}

// smallBlock is the size in bytes of the largest block that is stored in the ledger.
const smallBlock = 4 << 10

// Commit stores b with one write. It does not wait for the disk: when it returns, b survives a kill of the process;
// it is synced within syncAfter. It waits while a collection is running.
func (s *Store) Commit(ctx context.Context, b Batch) error {
	var entries []ledger.Entry
	for i := range b.Pins {
		e, err := s.pinEntry(&b.Pins[i])
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	for _, r := range b.Records {
		entries = append(entries, ledger.Entry{Key: recordKey + r.Name, Value: r.Value, Delete: r.Delete})
	}
	if err := s.enterToWrite(ctx); err != nil {
		return err
	}
	defer s.leave()
	if len(b.Pins) > 0 {
		if err := s.lockGC(ctx); err != nil {
			return err
		}
		defer s.unlockGC()
	}
	for _, bl := range b.Blocks {
		e, small, err := s.blockEntry(bl)
		if err != nil {
			return err
		}
		if small {
			entries = append(entries, e)
		}
	}
	write := s.ledger.Write
	if b.removes() {
		write = s.writeRemovals
	}
	if err := write(entries...); err != nil {
		return fmt.Errorf("store results: %w", s.noteFull(err))
	}
	s.puts.Add(uint64(len(b.Blocks)))
	for _, p := range b.Pins { // a pin file of the old format
		if _, err := s.oldPins.remove(p.Name); err != nil {
			return fmt.Errorf("replace pin %q: %w", p.Name, err)
		}
	}
	for _, bl := range b.Blocks {
		s.coverage.put(bl.CID().Hash())
	}
	s.delayedSync.arm()
	return nil
}

// blockEntry returns the ledger entry for b. small is false if no entry is needed: the ledger has the block already,
// or it is large and was put into a segment.
func (s *Store) blockEntry(b dag.Block) (e ledger.Entry, small bool, err error) {
	key := b.CID().Hash()
	if _, ok := identityData(b.CID()); ok || len(b.Data()) > smallBlock || len(key) > maxKey || !b.CID().Defined() {
		return e, false, s.put(b)
	}
	e = ledger.Entry{Key: blockKey + string(key), Value: b.Data()}
	// A block in a table is written again: that costs less than looking it up.
	return e, !s.ledger.Recent(e), nil
}

// Commit is [Store.Commit]; the blocks are retained until End.
func (n *Session) Commit(ctx context.Context, b Batch) error {
	for _, bl := range b.Blocks {
		if err := n.hold(bl.CID()); err != nil {
			return err
		}
	}
	return n.store.Commit(ctx, b)
}

// Lookup returns a record's value; found is false if the record does not exist.
func (s *Store) Lookup(name string) (value []byte, found bool, err error) {
	if err := s.enter(context.Background()); err != nil {
		return nil, false, err
	}
	defer s.leave()
	value, err = s.ledger.Get(recordKey + name)
	if errors.Is(err, ledger.ErrAbsent) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read record %q from ledger: %w", name, err)
	}
	return value, true, nil
}

// Records calls fn for the records whose names begin with prefix, in name order, until fn returns an error. fn must
// not call the store. value reads the record's value; it returns nil if the record was removed in the meantime.
func (s *Store) Records(ctx context.Context, prefix string, fn func(name string, value func() ([]byte, error)) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	return s.ledger.Each(ctx, recordKey+prefix, func(i ledger.Item) error {
		if i.Err != nil {
			return i.Err
		}
		return fn(i.Key[len(recordKey):], func() ([]byte, error) {
			b, err := s.ledger.Get(i.Key)
			if errors.Is(err, ledger.ErrAbsent) {
				return nil, nil
			}
			return b, err
		})
	})
}

// Generation increases whenever a collection removes blocks: a DAG that was complete is still complete if the
// Generation is the same.
func (s *Store) Generation() (uint64, error) {
	if err := s.enter(context.Background()); err != nil {
		return 0, err
	}
	defer s.leave()
	return s.generation()
}

func (s *Store) generation() (uint64, error) {
	if n := s.gen.Load(); n != 0 {
		return n, nil
	}
	b, err := s.ledger.Get(generationKey)
	if errors.Is(err, ledger.ErrAbsent) {
		b, err = []byte{0, 0, 0, 0, 0, 0, 0, 1}, nil
	}
	if err == nil && len(b) != 8 {
		err = fmt.Errorf("ledger value: got %d bytes, want 8", len(b))
	}
	if err != nil {
		return 0, fmt.Errorf("read repo generation: %w", err)
	}
	s.gen.CompareAndSwap(0, binary.BigEndian.Uint64(b))
	return s.gen.Load(), nil
}

func (s *Store) nextGeneration() error {
	n, err := s.generation()
	if err != nil {
		return err
	}
	err = s.ledger.WriteFor(ledger.Collection, ledger.Entry{Key: generationKey, Value: binary.BigEndian.AppendUint64(nil, n+1)})
	if err == nil {
		s.gen.Store(n + 1)
	}
	return err
}

// verifyRecords checks the ledger's other entries: generation, records and pins.
func (s *Store) verifyRecords(ctx context.Context, sum *Checked, damaged func(Damage)) error {
	bad := func(where string, err error) {
		sum.Damaged++
		damaged(Damage{Where: where, Err: err})
	}
	lost, err := s.ledger.Damaged()
	if err != nil {
		return err
	}
	for _, path := range lost {
		bad(path, errors.New("part of this ledger log was damaged, and its entries are lost; remove the file to acknowledge the loss"))
	}
	for _, prefix := range []string{generationKey, recordKey, pinKey} {
		err := s.ledger.Each(ctx, prefix, func(i ledger.Item) error {
			if i.Err != nil {
				bad(i.Where, i.Err)
				return nil
			}
			value, err := i.Value()
			if err == nil && prefix == pinKey {
				_, err = decodePin(i.Key, value, i.Where)
			}
			if err != nil {
				bad(i.Where, withoutFile(err))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.oldPins.each(func(path string, _ Pin, err error) error {
		if err != nil {
			bad(path, withoutFile(err))
		}
		return nil
	})
}

// withoutFile returns a pin's error without the file, which the caller names.
func withoutFile(err error) error {
	var bad *PinError
	if errors.As(err, &bad) {
		return errors.New("pin: " + bad.Why)
	}
	return err
}

// syncAfter is how long a commit may stay unsynced.
const syncAfter = time.Second

// delayedSync syncs once for all commits within syncAfter.
type delayedSync struct {
	sync func() error

	mu      sync.Mutex
	timer   *time.Timer
	armed   bool
	stopped bool
	running sync.WaitGroup
}

func (l *delayedSync) arm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.armed || l.stopped {
		return
	}
	l.armed = true
	l.running.Add(1)
	l.timer = time.AfterFunc(syncAfter, func() {
		defer l.running.Done()
		l.mu.Lock()
		l.armed = false
		l.mu.Unlock()
		l.sync() // callers that rely on it call Sync, which returns the error
	})
}

// stop waits for a running sync. A sync that has not begun is left to the operating system and to the next process.
func (l *delayedSync) stop() {
	l.mu.Lock()
	l.stopped = true
	if l.timer != nil && l.timer.Stop() {
		l.running.Done()
	}
	l.mu.Unlock()
	l.running.Wait()
}
