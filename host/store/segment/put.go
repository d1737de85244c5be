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

// Put keeps data, which it does not retain, under key. When they are there already and
// undamaged nothing is written. After an error the store is as before.
func (s *Store) Put(mh multihash.Multihash, data []byte) error {
	if err := s.writable(); err != nil {
		return err
	}
	if len(mh) > MaxKey || len(data) > dag.MaxBlock {
		return fmt.Errorf("a block of %d bytes under a name of %d is too large", len(data), len(mh))
	}
	k, sum := keyOf(mh), sumOf(mh, data)
	// Whoever is told that the block is kept may remove the original: look, do not assume.
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

// holds reports whether data is kept, undamaged.
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

// append writes a section. s.appending is held.
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
		_, err = s.active.WriteAt(head, at) // last: without it the section is none
	}
	if err != nil {
		return place{}, s.undo(err)
	}
	s.end.at = p.at + int64(len(data))
	s.writes.Add(1)
	s.trickle.wrote(s.active, s.end.at, s.cfg.MaxSegment)
	return p, nil
}

// smallWrite is the size of the largest block that is copied so as to be one write with what stands
// before it.
const smallWrite = 4 << 10

// undo removes what a failed append has left. Where that cannot be, the segment is ended: what is at
// its end is no section, and the next one begins in another file.
func (s *Store) undo(err error) error {
	if s.active.Truncate(s.end.at) != nil {
		s.seal()
	}
	return err
}

// room sees to it that there is a segment for a block of n bytes. s.appending is held.
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

// seal ends the active segment. s.appending is held.
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

// enter makes p what the index has for k. s.appending is held.
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

// Delete forgets key; one that is absent is no error.
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
	if err := s.behind(); err != nil {
		return err
	}
	p.gone = true
	return s.enter(k, p)
}

// behind returns why deletions cannot be written down, when there are as many of them in memory as there should be:
// on a full disk [Store.Compact] has to make room first. s.appending is held.
func (s *Store) behind() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f := s.frozen; f != nil && !f.busy && s.recent.full() && diskfs.Full(s.late) {
		return s.late
	}
	return nil
}

// Sync returns when all that was put before it would survive a loss of power. Calls that
// come together share the work. After an error nobody knows what is on the disk: the store takes
// nothing more.
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
	if s.active != nil { // it is written to again
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

// writeback has large writes go to the disk while more is written, so that a Sync finds
// most of its work done.
type writeback struct {
	at       int64 // how far the active segment was handed over
	reserved int64 // how far it has room; 0: nothing is known
	busy     atomic.Bool
	running  sync.WaitGroup
}

const (
	writebackStep = 8 << 20
	reserveStep   = 32 << 20
)

// wrote is told that h, which may become limit bytes long, has been written up to end. Store.appending is held.
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

// reserve sees to it that there is room behind end for more of what seems to be much.
func (w *writeback) reserve(h *handle, end, limit int64) {
	f, ok := h.File.(reserver)
	from, to := max(end, w.reserved), min(end+reserveStep, limit)
	if ok && w.reserved < end+writebackStep && from < to {
		f.Reserve(from, to-from)
		w.reserved = to
	}
}

// giveBack gives back what h has room for behind its end.
func (w *writeback) giveBack(h *handle, end int64) {
	if w.reserved > end {
		_ = h.Truncate(end) // what stays is given back when the segment is opened to be written to
	}
	w.reserved = 0
}

func (w *writeback) wait() { w.running.Wait() }
