package segment

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Put stores data under key and does not retain the slice. If an intact copy exists, it writes nothing. After an
// error the store is unchanged.
func (s *Store) Put(mh multihash.Multihash, data []byte) error {
	if err := s.writable(); err != nil {
		return err
	}
	if len(mh) > MaxKey || len(data) > dag.MaxBlock {
		return fmt.Errorf("block of %d bytes with a multihash of %d bytes is too large", len(data), len(mh))
	}
	k, sum := keyOf(mh), sumOf(mh, data)
	// The caller may remove the original once Put returns: compare the bytes instead of trusting the index.
	switch same, err := s.holds(k, data, sum); {
	case err != nil:
		return err
	case same:
		return nil
	}
	s.awaitRoom()
	s.appending.Lock()
	defer s.appending.Unlock()
	p, err := s.append(mh, data, sum)
	if err != nil {
		return err
	}
	return s.enter(k, p)
}

// holds reports whether an intact copy of data is stored.
func (s *Store) holds(k key, data []byte, sum uint32) (bool, error) {
	p, err := s.find(k)
	if errors.Is(err, ErrAbsent) || err == nil && (p.sum != sum || int(p.size) != len(data)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	buf := getBuffer(len(data))
	defer putBuffer(buf)
	old := (*buf)[:len(data)]
	return s.readRaw(p, old, 0) == nil && bytes.Equal(old, data), nil
}

// append writes a section at the end. s.appending is held.
func (s *Store) append(mh multihash.Multihash, data []byte, sum uint32) (place, error) {
	if err := s.room(len(data)); err != nil {
		return place{}, err
	}
	var space [16 + 2 + MaxKey + smallWrite]byte
	head := appendHead(space[:0], mh, len(data))
	at := s.end.at
	p := place{seg: s.end.seg, at: at + int64(len(head)), size: uint32(len(data)), sum: sum}
	var err error
	if len(data) <= smallWrite {
		_, err = s.active.WriteAt(append(head, data...), at)
	} else if _, err = s.active.WriteAt(data, p.at); err == nil {
		_, err = s.active.WriteAt(head, at) // last: without a header there is no section
	}
	if err != nil {
		return place{}, s.undo(err)
	}
	s.end.at = p.at + int64(len(data))
	s.writes.Add(1)
	s.trickle.wrote(s.active, s.end.at, s.cfg.MaxSegment)
	return p, nil
}

// smallWrite is the size in bytes of the largest block that is copied, to be written together with its header.
const smallWrite = 4 << 10

// undo truncates a failed append. If that fails, it seals the segment: the bytes at its end do not form a section,
// and the next block goes to another file.
func (s *Store) undo(err error) error {
	if s.active.Truncate(s.end.at) != nil {
		s.seal()
	}
	return err
}

// room makes sure that there is an active segment for a block of n bytes. s.appending is held.
func (s *Store) room(n int) error {
	if s.active != nil && s.end.at+int64(n) > s.cfg.MaxSegment && s.end.at > int64(len(carHeader)) {
		s.seal()
	}
	if s.active != nil {
		return nil
	}
	number := s.end.seg + 1
	f, err := s.fs.Create(s.segmentPath(number))
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte(carHeader), 0); err != nil {
		f.Close()
		s.fs.Remove(s.segmentPath(number))
		return err
	}
	s.active = newHandle(f, number)
	s.handles.add(s.active)
	s.unsafe = append(s.unsafe, s.active.acquire())
	s.end = position{number, int64(len(carHeader))}
	s.trickle.at = 0
	return nil
}

// seal closes the active segment for writing. s.appending is held.
func (s *Store) seal() {
	if s.active != nil {
		if s.sealed != nil {
			s.sealed[s.active.number] = s.end.at
		}
		s.trickle.giveBack(s.active, s.end.at)
		s.active.release()
		s.active = nil
	}
}

// enter sets the index record of k to p. s.appending is held.
func (s *Store) enter(k key, p place) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.recent.set(k, p)
	s.freezeFull()
	return nil
}

// Delete removes key from the index. Deleting an absent key is not an error.
func (s *Store) Delete(mh multihash.Multihash) error {
	if err := s.writable(); err != nil {
		return err
	}
	k := keyOf(mh)
	s.awaitRoom()
	s.appending.Lock()
	defer s.appending.Unlock()
	p, err := s.find(k)
	if errors.Is(err, ErrAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.deletionBacklog(); err != nil {
		return err
	}
	p.gone = true
	return s.enter(k, p)
}

// deletionBacklog returns the error of the last flush if the disk is full and memory holds as many deletions as it may:
// [Store.Compact] must free space first. s.appending is held.
func (s *Store) deletionBacklog() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f := s.frozen; f != nil && !f.busy && s.recent.full() && diskfs.Full(s.flushErr) {
		return s.flushErr
	}
	return nil
}

// Sync returns when all earlier puts would survive a power loss. Concurrent calls share the work. After an error the
// state of the disk is unknown, and the store refuses further writes.
func (s *Store) Sync() error {
	want := s.writes.Load()
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if err := s.failure(); err != nil {
		return err
	}
	if s.synced.Load() >= want {
		return nil
	}
	s.appending.Lock()
	upTo := s.writes.Load()
	list := s.unsafe
	s.unsafe = nil
	if s.active != nil { // more may be appended to it
		s.unsafe = append(s.unsafe, s.active.acquire())
	}
	s.appending.Unlock()
	for i, h := range list {
		err := h.Sync()
		h.release()
		if err != nil {
			for _, rest := range list[i+1:] {
				rest.release()
			}
			return s.fail(fmt.Errorf("sync %s: %w", s.segmentPath(h.number), err))
		}
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return s.fail(err)
	}
	s.synced.Store(upTo)
	return nil
}

// writeback starts to write large data to disk while more is appended, so that little is left to do for a Sync.
type writeback struct {
	at       int64 // the active segment was handed over up to here
	reserved int64 // space is preallocated up to here; 0 if unknown
	busy     atomic.Bool
	running  sync.WaitGroup
}

const (
	writebackStep = 8 << 20
	reserveStep   = 32 << 20
)

// wrote records that h, which may grow to limit bytes, has been written up to end. Store.appending is held.
func (w *writeback) wrote(h *handle, end, limit int64) {
	if end-w.at < writebackStep {
		return
	}
	w.reserve(h, end, limit)
	f, ok := h.File.(starter)
	if !ok || !w.busy.CompareAndSwap(false, true) {
		return
	}
	from := w.at
	w.at = end
	h.acquire()
	w.running.Go(func() {
		defer w.busy.Store(false)
		defer h.release()
		f.StartWriteback(from, end-from)
	})
}

// reserve preallocates space behind end when much is being written.
func (w *writeback) reserve(h *handle, end, limit int64) {
	f, ok := h.File.(reserver)
	from, to := max(end, w.reserved), min(end+reserveStep, limit)
	if ok && w.reserved < end+writebackStep && from < to {
		f.Reserve(from, to-from)
		w.reserved = to
	}
}

// giveBack frees the space preallocated behind the end of h.
func (w *writeback) giveBack(h *handle, end int64) {
	if w.reserved > end {
		_ = h.Truncate(end) // what remains is freed when the segment is opened for writing
	}
	w.reserved = 0
}

func (w *writeback) wait() { w.running.Wait() }
