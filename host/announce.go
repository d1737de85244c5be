package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/job"
)

// ownCapacity is what this node announces about its own capacity. Peer.mu guards it.
type ownCapacity struct {
	record   job.Capacity
	envelope []byte // nil: nothing announced yet
	cid      cid.Cid
	slots    int
	memory   int // bucket
	queue    int // bucket
	seq      uint64
	changed  chan struct{} // wakes publish
}

// Intervals between hints.
const (
	hintInterval    = 30 * time.Second // +-20 %
	minHintInterval = 5 * time.Second
)

// SetCapacity sets the capacity that this node announces. It sets the issuer, sequence number and time of c. Nothing
// is gossiped before the first call.
func (p *Peer) SetCapacity(c job.Capacity) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.own.envelope == nil
	if err := p.sign(c); err != nil {
		return fmt.Errorf("sign capacity record: %w", err)
	}
	if first {
		p.own.slots, p.own.memory = c.Slots, job.Bucket(c.Memory)
	}
	p.own.signalChange()
	return nil
}

// sign makes c this node's signed capacity record. The caller holds the lock.
func (p *Peer) sign(c job.Capacity) error {
	c.Seq, c.Issued = p.nextSeq(), p.cfg.Now().UnixMilli()
	env, err := c.Sign(p.cfg.Identity.Key)
	if err != nil {
		return err
	}
	c.Issuer = p.DID()
	p.own.record, p.own.envelope, p.own.cid = c, env, job.CIDOf(env)
	return nil
}

// maxRecordAge is the highest age of this node's record. A record that is older, or in the future, may have been
// numbered while the clock was wrong; a peer that has a record with a larger number rejects it.
const maxRecordAge = 24 * time.Hour

// refreshRecord signs the record again if its number is not close to the current time. The caller holds the lock.
func (p *Peer) refreshRecord() error {
	now := p.cfg.Now()
	if o := &p.own; o.envelope == nil || !inFuture(o.record.Seq, now) && o.record.Seq >= uint64(now.Add(-maxRecordAge).UnixMilli()) {
		return nil
	}
	return p.sign(p.own.record)
}

// SetState sets what is free now: slots, bytes of memory, and the time until a slot is free. It may be called on
// every change.
func (p *Peer) SetState(slots int, memory uint64, queue time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, q := job.Bucket(memory), job.Bucket(uint64(max(queue.Milliseconds(), 0)))
	slots = min(max(slots, 0), job.MaxSlots)
	if slots != p.own.slots || m != p.own.memory || q != p.own.queue {
		p.own.slots, p.own.memory, p.own.queue = slots, m, q
		p.own.signalChange()
	}
}

func (o *ownCapacity) signalChange() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// nextSeq returns a sequence number larger than any that other peers can have accepted, also from before a restart.
// The caller holds the lock.
func (p *Peer) nextSeq() uint64 {
	now := p.cfg.Now()
	if inFuture(p.own.seq, now) {
		p.own.seq = 0 // the clock was set back, and no peer has accepted that number
	}
	p.own.seq = max(uint64(now.UnixMilli()), p.own.seq+1)
	return p.own.seq
}

// ownHint returns the capacity's envelope and a new hint; both are nil before SetCapacity.
func (p *Peer) ownHint() (envelope, hint []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own.envelope == nil {
		return nil, nil
	}
	h, err := p.hintNow()
	if err == nil {
		hint, err = h.Encode()
	}
	if err != nil {
		p.cfg.Log.Error("create capacity hint", "err", err)
		return nil, nil
	}
	return p.own.envelope, hint
}

func (p *Peer) hintNow() (job.Hint, error) {
	if err := p.refreshRecord(); err != nil {
		return job.Hint{}, fmt.Errorf("renew capacity record: %w", err)
	}
	return job.Hint{Capacity: p.own.cid, Seq: p.nextSeq(), Slots: p.own.slots, Memory: p.own.memory, Queue: p.own.queue}, nil
}

// publish gossips hints: after a change, at most one per minHintInterval, otherwise one every hintInterval.
func (p *Peer) publish() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var last time.Time
	for {
		changed := false
		select {
		case <-p.ctx.Done():
			return
		case <-p.own.changed:
			changed = true
		case <-timer.C:
		}
		if wait := minHintInterval - time.Since(last); changed && wait > 0 {
			timer.Reset(wait)
			continue
		}
		_, hint := p.ownHint()
		if hint == nil {
			continue
		}
		if err := p.gossip.capacity.Publish(p.ctx, hint); err != nil && p.ctx.Err() == nil {
			p.cfg.Log.Debug("publish capacity hint", "err", err)
		}
		last = time.Now()
		timer.Reset(time.Duration(float64(hintInterval) * (0.8 + 0.4*rand.Float64())))
	}
}

// Announce gossips a job that needs a provider, and calls found for each peer that answers until the window is over
// or ctx ends. It sets the issuer, addresses and time of a. found is called from several goroutines and must not
// block. The peers passed to found can be dialed: their addresses are known.
func (p *Peer) Announce(ctx context.Context, a job.Announce, found func(peer.ID)) error {
	a.Issued, a.Addrs = p.cfg.Now().UnixMilli(), p.announceAddrs()
	env, err := a.Sign(p.cfg.Identity.Key)
	if err != nil {
		return fmt.Errorf("announce job: %w", err)
	}
	key := job.CIDOf(env).KeyString()
	g := p.gossip
	g.mu.Lock()
	if len(g.callbacks) >= maxOwnAnnounces {
		g.mu.Unlock()
		return fmt.Errorf("announce job: %d announcements of this node wait for bids, want at most %d", len(g.callbacks), maxOwnAnnounces)
	}
	g.callbacks[key] = found
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.callbacks, key)
	}()
	if err := g.jobs.Publish(ctx, env); err != nil {
		return fmt.Errorf("announce job: %w", err)
	}
	timer := time.NewTimer(time.Duration(a.Window) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
}

// announceAddrs returns as many of this node's addresses as a message may hold.
func (p *Peer) announceAddrs() []string {
	all := texts(p.advertisedAddrs())
	all = slices.DeleteFunc(all, func(a string) bool { return len(a) > job.MaxAddr })
	return all[:min(len(all), job.MaxAddrs)]
}

// answer answers the announcements that this node would bid for. It answers with a probability at which about sixteen
// peers answer, however many there are.
func (g *gossip) answer() {
	p := g.p
	for {
		var a receivedAnnounce
		select {
		case <-p.ctx.Done():
			return
		case a = <-g.announces:
		}
		if p.cfg.Bids == nil || slices.Contains(a.Exclude, p.DID()) || !p.cfg.Bids(a.Announce) {
			continue
		}
		if known := p.table.fresh(p.cfg.Now()); known > 16 && rand.Float64() > 16/float64(known) {
			continue
		}
		p.mu.Lock()
		ready := p.own.envelope != nil
		hint, err := p.hintNow()
		p.mu.Unlock()
		if !ready || err != nil {
			continue
		}
		b, err := job.Answer{Announce: a.cid, Addrs: p.announceAddrs(), Hint: hint}.Encode()
		if err == nil {
			err = g.jobs.Publish(p.ctx, b)
		}
		if err != nil && p.ctx.Err() == nil {
			p.cfg.Log.Debug("answer job announcement", "err", err)
		}
	}
}
