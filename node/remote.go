package node

import (
	"context"
	"errors"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// Remote begins a session with the node whose API listens on the TCP address addr; token authorizes it. See
// [api.DialRemote].
func Remote(ctx context.Context, addr, token string) (*Session, error) {
	c, err := api.DialRemote(ctx, addr, token)
	if err != nil {
		err = apiError(ctx, err)
		var e *api.Error
		if errors.As(err, &e) && e.Code == api.CodeFault && e.Hint == "" {
			e.Hint = "check that `liftoff serve --api` is running there and that its port is reachable"
		}
		return nil, err
	}
	blocks := &cachedBlocks{remoteBlocks: remoteBlocks{c}, recent: recent{held: map[cid.Cid]dag.Block{}}}
	s := newSession(c, blocks, func(context.Context) error { return c.Close() })
	s.remote = blocks
	return s, nil
}

// Reading returns the blocks of the session for a caller that reads everything below root, in DAG order. From a
// remote node they arrive as one stream instead of one request per block. The caller must call stop.
func (s *Session) Reading(ctx context.Context, root cid.Cid) (blocks dag.Blocks, stop func()) {
	if s.remote == nil {
		return s.Blocks, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{cachedBlocks: s.remote, stream: make(chan api.Block, aheadBlocks)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(a.stream)
		// Whatever ends the stream, blocks that have not arrived are requested one by one: that request returns
		// the error.
		a.data.Walk(ctx, root, func(b api.Block) error { //nolint:errcheck // see above
			select {
			case a.stream <- b:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	return a, func() { cancel(); <-done }
}

const (
	aheadBlocks = 8        // blocks buffered ahead of the reader
	aheadBytes  = 32 << 20 // streamed bytes that may be skipped before the requested block arrives
	recentBytes = 64 << 20
	smallPut    = 16 << 10 // bytes that are sent without asking whether the node has them
)

// cachedBlocks is the block set of a node that is some milliseconds away: blocks that the node has are not sent
// again, and blocks that were sent or read recently are not requested.
type cachedBlocks struct {
	remoteBlocks
	recent recent
}

func (f *cachedBlocks) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	if b, ok := f.recent.get(c); ok {
		return b, nil
	}
	b, err := f.remoteBlocks.Get(ctx, c)
	if err == nil {
		f.recent.add(b)
	}
	return b, err
}

func (f *cachedBlocks) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if _, ok := f.recent.get(c); ok {
		return true, nil
	}
	return f.remoteBlocks.Has(ctx, c)
}

func (f *cachedBlocks) Put(ctx context.Context, bs ...dag.Block) error {
	for len(bs) > 0 {
		part := bs[:min(len(bs), api.MaxMissing)]
		bs = bs[len(part):]
		if err := f.put(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func (f *cachedBlocks) put(ctx context.Context, bs []dag.Block) error {
	size, cs := 0, make([]cid.Cid, len(bs))
	for i, b := range bs {
		size, cs[i] = size+len(b.Data()), b.CID()
	}
	missing := cs
	if size > smallPut {
		var err error
		if missing, err = f.data.Missing(ctx, cs...); err != nil {
			return err
		}
	}
	wanted := make(map[cid.Cid]bool, len(missing))
	for _, c := range missing {
		wanted[c] = true
	}
	var send []dag.Block
	for _, b := range bs {
		if wanted[b.CID()] {
			send = append(send, b)
			delete(wanted, b.CID())
		}
	}
	if len(send) > 0 {
		if err := f.remoteBlocks.Put(ctx, send...); err != nil {
			return err
		}
	}
	for _, b := range bs {
		f.recent.add(b)
	}
	return nil
}

// recent caches the most recent blocks in memory, up to recentBytes.
type recent struct {
	mu    sync.Mutex
	held  map[cid.Cid]dag.Block
	order []cid.Cid
	bytes int
}

func (r *recent) get(c cid.Cid) (dag.Block, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.held[c]
	return b, ok
}

func (r *recent) add(b dag.Block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.held[b.CID()]; again {
		return
	}
	r.held[b.CID()] = b
	r.order = append(r.order, b.CID())
	r.bytes += len(b.Data())
	for r.bytes > recentBytes {
		oldest := r.order[0]
		r.order = r.order[1:]
		r.bytes -= len(r.held[oldest].Data())
		delete(r.held, oldest)
	}
}

// ahead is cachedBlocks with the next blocks already on the stream.
type ahead struct {
	*cachedBlocks
	mu       sync.Mutex
	stream   chan api.Block
	diverged bool // the stream's order differs from the reader's
}

// ReadInOrder marks the set as one whose reader loses the stream by reading in another order than the DAG's.
func (a *ahead) ReadInOrder() {}

func (a *ahead) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	if b, ok := a.recent.get(c); ok {
		return b, nil
	}
	if b, ok, err := a.next(ctx, c); ok || err != nil {
		return b, err
	}
	return a.cachedBlocks.Get(ctx, c)
}

// next reads blocks from the stream until c arrives.
func (a *ahead) next(ctx context.Context, c cid.Cid) (dag.Block, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b, ok := a.recent.get(c); ok { // another goroutine has read it
		return b, true, nil
	}
	for passed := 0; !a.diverged; {
		select {
		case raw, ok := <-a.stream:
			if !ok {
				a.diverged = true
				break
			}
			b, err := dag.CheckBlock(raw.CID, raw.Data)
			if err != nil {
				return dag.Block{}, false, err
			}
			a.recent.add(b)
			if b.CID() == c {
				return b, true, nil
			}
			passed += len(b.Data())
			a.diverged = passed > aheadBytes
		case <-ctx.Done():
			return dag.Block{}, false, context.Cause(ctx)
		}
	}
	return dag.Block{}, false, nil
}
