package host

import (
	"bytes"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/job"
)

// table holds the known capacity of peers: the record, which changes seldom, and the hint, which is valid for
// hintTTL after it was received, by the receiver's clock.
type table struct {
	mu   sync.Mutex
	rows map[peer.ID]*row
}

type row struct {
	cid      cid.Cid // of envelope; cid.Undef: no record
	envelope []byte
	record   *job.Capacity
	hint     job.Hint
	hinted   time.Time // when hint was received; zero: never
}

const (
	hintTTL   = 100 * time.Second
	maxRows   = 4096
	recordTTL = 10 * hintTTL // a record without hints expires then
)

func newTable() *table { return &table{rows: map[peer.ID]*row{}} }

// inFuture reports whether a sequence number is later than any correct clock can give. Such a number is rejected: after
// its author's clock was set back, the author's messages would be ignored until that time.
func inFuture(seq uint64, now time.Time) bool { return seq > uint64(now.Add(clockSkew).UnixMilli()) }

// capacity stores the record of did if did signed it and it is newer than the stored one.
func (t *table) capacity(did job.DID, envelope []byte, now time.Time) {
	id, err := IDOf(did)
	if err != nil {
		return
	}
	t.mu.Lock()
	if r := t.rows[id]; r != nil && bytes.Equal(r.envelope, envelope) {
		t.mu.Unlock()
		return
	}
	t.mu.Unlock()
	c, err := job.DecodeCapacity(envelope)
	if err != nil || c.Issuer != did || inFuture(c.Seq, now) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.row(id)
	if r.record != nil && r.record.Seq >= c.Seq {
		return
	}
	r.cid, r.envelope, r.record = job.CIDOf(envelope), bytes.Clone(envelope), &c
}

// hint stores a hint that came from its author, and reports whether it is newer than the stored one.
func (t *table) hint(id peer.ID, b []byte, now time.Time) bool {
	h, err := job.DecodeHint(b)
	return err == nil && t.hintOf(id, h, now)
}

func (t *table) hintOf(id peer.ID, h job.Hint, now time.Time) bool {
	if inFuture(h.Seq, now) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.row(id)
	if !r.hinted.IsZero() && r.hint.Seq >= h.Seq {
		return false
	}
	r.hint, r.hinted = h, now
	return true
}

// row returns the row of id. A new row evicts the one with the oldest hint when the table is full.
func (t *table) row(id peer.ID) *row {
	if r := t.rows[id]; r != nil {
		return r
	}
	if len(t.rows) >= maxRows {
		var silent peer.ID
		for other, o := range t.rows {
			if silent == "" || o.hinted.Before(t.rows[silent].hinted) {
				silent = other
			}
		}
		delete(t.rows, silent)
	}
	r := &row{}
	t.rows[id] = r
	return r
}

// has reports whether the table holds the record c of id.
func (t *table) has(id peer.ID, c cid.Cid) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rows[id]
	return r != nil && r.record != nil && r.cid.Equals(c)
}

func (t *table) envelope(id peer.ID) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.rows[id]; r != nil {
		return r.envelope
	}
	return nil
}

// sweep removes the peers whose hints have expired, unless they are connected.
func (t *table) sweep(now time.Time, connected func(peer.ID) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, r := range t.rows {
		if now.Sub(r.hinted) > recordTTL && !connected(id) {
			delete(t.rows, id)
		}
	}
}

// fresh returns the number of peers with a valid hint.
func (t *table) fresh(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, r := range t.rows {
		if now.Sub(r.hinted) <= hintTTL {
			n++
		}
	}
	return n
}

// fill copies the row of info.ID into info.
func (t *table) fill(info *PeerInfo, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rows[info.ID]
	if r == nil {
		return
	}
	info.Capacity = r.record
	if r.hinted.After(info.LastSeen) {
		info.LastSeen = r.hinted
	}
	if age := now.Sub(r.hinted); age <= hintTTL && r.record != nil && r.hint.Capacity.Equals(r.cid) {
		h := r.hint
		info.Hint, info.HintAge = &h, age
	}
}

func (t *table) ids() []peer.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]peer.ID, 0, len(t.rows))
	for id := range t.rows {
		list = append(list, id)
	}
	return list
}
