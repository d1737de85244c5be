package exchange

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// SessionConfig configures a Session.
type SessionConfig struct {
	Local   dag.Blocks      // queried first; fetched blocks are put there: a store's session
	Sources []peer.AddrInfo // peers to fetch from, the best first, if they may be asked
	// Requester is the peer whose job the session is for: it may be asked for the blocks of this session, whatever
	// its relation. Empty: the job is this node's own.
	Requester peer.ID
}

// Fetched counts what a Session has fetched from its sources.
type Fetched struct {
	Blocks int64
	Bytes  int64
	Waited time.Duration // time during which a caller waited for a block
}

// Session is the blocks of a job: the local ones, and those of its sources. A missing block is fetched once for all
// callers; it is hashed and put before a caller gets it. A source that sends wrong bytes is not used any more; the
// wants of a silent source go to the others.
//
// Its methods may be called concurrently.
type Session struct {
	x     *Exchange
	local dag.Blocks
	// requester may be asked whatever its relation; empty: no peer.
	requester peer.ID
	ctx       context.Context // of all fetches, until Close
	stop      context.CancelCauseFunc

	stored atomic.Int64 // number of blocks put; changes with mu held

	mu      sync.Mutex
	wants   map[string]*want
	urgent  []*want // wants without a source that a caller waits for
	early   []*want // wants without a source that no caller waits for
	sources []*source
	fetched Fetched
	waiting int
	since   time.Time // time when waiting became positive
	closed  bool
	running sync.WaitGroup
}

var (
	_ dag.Blocks     = (*Session)(nil)
	_ dag.Sizer      = (*Session)(nil)
	_ dag.Prefetcher = (*Session)(nil)
	_ dag.PartReader = (*Session)(nil)
)

// SourcesError reports why no source returned a block. It is a *dag.NotFoundError, too.
type SourcesError struct {
	CID     cid.Cid
	Answers []string // "12D3KooW…: does not have the block"
}

func (e *SourcesError) Error() string {
	if len(e.Answers) == 0 {
		return fmt.Sprintf("block %s is not in this repo, and no peer can be asked for it", e.CID)
	}
	return fmt.Sprintf("block %s is not in this repo; asked peers: %s", e.CID, strings.Join(e.Answers, "; "))
}

func (e *SourcesError) Unwrap() error { return &dag.NotFoundError{CID: e.CID} }

// maxEarly limits the prefetched blocks that are not requested yet; more are dropped, and fetched when a caller wants
// them.
const maxEarly = 1024

// Session returns a Session. The caller closes it, before the Exchange.
func (x *Exchange) Session(cfg SessionConfig) *Session {
	s := &Session{x: x, local: cfg.Local, requester: cfg.Requester, wants: map[string]*want{}}
	s.ctx, s.stop = context.WithCancelCause(x.ctx)
	s.AddSources(cfg.Sources...)
	return s
}

// AddSources adds sources. It ignores known ones and this peer itself.
func (s *Session) AddSources(peers ...peer.AddrInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[peer.ID]bool{s.x.host.ID(): true}
	for _, src := range s.sources {
		known[src.info.ID] = true
	}
	for _, p := range peers {
		if !known[p.ID] {
			known[p.ID] = true
			s.sources = append(s.sources, &source{session: s, info: p, average: firstAverage})
		}
	}
}

// mayAsk reports whether p may see the CIDs that the session wants.
func (s *Session) mayAsk(p peer.ID) bool {
	return p == s.requester || s.x.cfg.Access.allows(p, host.BeAsked)
}

// Close cancels all fetches and waits for them. A later Get of a missing block is an error.
func (s *Session) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop(errSessionClosed)
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.wants {
		s.finish(w, dag.Block{}, errSessionClosed)
	}
}

var errSessionClosed = errors.New("block session is closed")

// Fetched returns the counts so far.
func (s *Session) Fetched() Fetched {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fetched
	if s.waiting > 0 {
		f.Waited += time.Since(s.since)
	}
	return f
}

// Get returns the block named c, which is fetched if it is not local. The error is a *SourcesError when no source has
// it.
func (s *Session) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	for {
		came := s.stored.Load()
		b, err := s.local.Get(ctx, c)
		var missing *dag.NotFoundError
		if !errors.As(err, &missing) {
			return b, err
		}
		w, err := s.want(c, came)
		if err != nil {
			return dag.Block{}, err
		}
		if w == nil {
			continue
		}
		defer s.unwait(w)
		select {
		case <-w.done:
			return w.block, w.err
		case <-ctx.Done():
			return dag.Block{}, context.Cause(ctx)
		}
	}
}

// ReadPart reads a part of a local block; a missing block is fetched as a whole.
func (s *Session) ReadPart(ctx context.Context, c cid.Cid, p []byte, off int64) (n int, size int64, err error) {
	n, size, err = dag.ReadPart(ctx, s.local, c, p, off)
	var missing *dag.NotFoundError
	if !errors.As(err, &missing) {
		return n, size, err
	}
	b, err := s.Get(ctx, c)
	if err != nil {
		return 0, 0, err
	}
	return copy(p, b.Data()[min(off, int64(len(b.Data()))):]), int64(len(b.Data())), nil
}

// Has reports whether Get would find c: it is local, or a source reports that it has it. Over bitswap it must be
// fetched to know that.
func (s *Session) Has(ctx context.Context, c cid.Cid) (bool, error) {
	held, err := s.local.Has(ctx, c)
	if held || err != nil {
		return held, err
	}
	held, bitswap, err := s.askAll(ctx, c)
	if held || err != nil || !bitswap || s.x.bitswap == nil {
		return held, err
	}
	_, err = s.Get(ctx, c)
	var missing *dag.NotFoundError
	if errors.As(err, &missing) {
		return false, nil
	}
	return err == nil, err
}

// askAll asks all sources at once whether they have c. bitswap reports that some of them do not support the liftoff
// protocol.
func (s *Session) askAll(ctx context.Context, c cid.Cid) (held, bitswap bool, err error) {
	s.mu.Lock()
	sources := s.sources // only appended to
	s.mu.Unlock()
	type answer struct {
		held []bool
		err  error
	}
	answers := make(chan answer, len(sources))
	asking, enough := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer enough()
	for _, src := range sources {
		running.Go(func() {
			if !s.mayAsk(src.info.ID) {
				answers <- answer{err: errNotAsked}
				return
			}
			held, err := s.x.have(asking, src.info, []cid.Cid{c})
			answers <- answer{held, err}
		})
	}
	for range sources {
		a := <-answers
		bitswap = bitswap || errors.Is(a.err, errNotSupported)
		if a.err == nil && a.held[0] {
			return true, bitswap, nil
		}
	}
	if ctx.Err() != nil {
		return false, bitswap, context.Cause(ctx)
	}
	return false, bitswap, nil
}

// Put stores local blocks.
func (s *Session) Put(ctx context.Context, bs ...dag.Block) error { return s.local.Put(ctx, bs...) }

// Size returns the size of a local block; of any other it returns a *dag.NotFoundError.
func (s *Session) Size(ctx context.Context, c cid.Cid) (int64, error) {
	if z, ok := s.local.(dag.Sizer); ok {
		return z.Size(ctx, c)
	}
	b, err := s.local.Get(ctx, c)
	return int64(len(b.Data())), err
}

// Prefetch requests blocks that will be wanted soon, in this order, and does not block. It ignores local blocks and
// blocks that no source has.
func (s *Session) Prefetch(ctx context.Context, cids []cid.Cid) {
	for _, c := range cids {
		for !dag.IsIdentity(c) && !s.prefetch(ctx, c) {
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatch()
}

// prefetch queues c unless it is local or requested. If it returns false it must be called again: a block arrived
// during the check, which may have been c.
func (s *Session) prefetch(ctx context.Context, c cid.Cid) bool {
	s.mu.Lock()
	came := s.stored.Load()
	_, asked := s.wants[c.KeyString()]
	s.mu.Unlock()
	if asked {
		return true
	}
	if held, err := s.local.Has(ctx, c); held || err != nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, asked := s.wants[c.KeyString()]; asked || s.closed || len(s.early) >= maxEarly {
		return true
	}
	if s.stored.Load() != came {
		return false
	}
	w := newWant(c)
	s.wants[c.KeyString()] = w
	s.early = append(s.early, w)
	return true
}

// want is a block that is being fetched.
type want struct {
	cid     cid.Cid
	done    chan struct{} // closed when block or err is set
	block   dag.Block
	err     error
	waiters int
	tried   map[*source]string // sources that did not return the block, and why
}

func newWant(c cid.Cid) *want {
	return &want{cid: c, done: make(chan struct{}), tried: map[*source]string{}}
}

// want adds a caller that waits for c, and requests c if it is not requested yet. It returns nil if the number of
// arrived blocks is not came any more: c may be local now.
func (s *Session) want(c cid.Cid, came int64) (*want, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errSessionClosed
	}
	w, asked := s.wants[c.KeyString()]
	if !asked {
		if s.stored.Load() != came {
			return nil, nil
		}
		w = newWant(c)
		s.wants[c.KeyString()] = w
		s.urgent = append(s.urgent, w)
	} else if i := indexOf(s.early, w); i >= 0 {
		s.early = append(s.early[:i], s.early[i+1:]...)
		s.urgent = append(s.urgent, w)
	}
	w.waiters++
	if s.waiting++; s.waiting == 1 {
		s.since = time.Now()
	}
	s.dispatch()
	return w, nil
}

func (s *Session) unwait(w *want) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.waiters--
	if s.waiting--; s.waiting == 0 {
		s.fetched.Waited += time.Since(s.since)
	}
}

func indexOf(list []*want, w *want) int {
	for i, o := range list {
		if o == w {
			return i
		}
	}
	return -1
}

// dispatch assigns wants to sources with room. s.mu is held.
func (s *Session) dispatch() {
	if s.closed {
		return // Close ends all wants
	}
	s.urgent = s.assign(s.urgent, true)
	s.early = s.assign(s.early, false)
}

// assign returns the wants that stay queued. s.mu is held.
func (s *Session) assign(list []*want, urgent bool) []*want {
	var rest []*want
	for i, w := range list {
		best, later := s.choose(w, urgent)
		switch {
		case best != nil:
			best.request(w)
		case later && !urgent && s.full():
			return append(rest, list[i:]...)
		case later:
			rest = append(rest, w)
		default:
			s.finish(w, dag.Block{}, s.notFound(w))
		}
	}
	return rest
}

// full reports whether no source has room for a want without a waiting caller. s.mu is held.
func (s *Session) full() bool {
	for _, src := range s.sources {
		if src.room(false) && src.unusable(time.Now()) == "" {
			return false
		}
	}
	return true
}

// choose returns the source that is expected to return w first, or nil with later true when it has no room now. s.mu
// is held.
func (s *Session) choose(w *want, urgent bool) (best *source, later bool) {
	now := time.Now()
	unknown := s.bestPace()
	var soonest time.Duration
	for _, src := range s.sources {
		if _, tried := w.tried[src]; tried {
			continue
		}
		if why := src.unusable(now); why != "" {
			w.tried[src] = why
			continue
		}
		if wait := src.wait(now, unknown); best == nil || wait < soonest {
			best, soonest = src, wait
		}
	}
	if best != nil && !best.room(urgent) {
		return nil, true
	}
	return best, false
}

// bestPace returns the pace of the fastest source of known pace.
func (s *Session) bestPace() time.Duration {
	best := time.Duration(0)
	for _, src := range s.sources {
		if src.pace > 0 && (best == 0 || src.pace < best) {
			best = src.pace
		}
	}
	return max(best, 1)
}

// notFound returns the error that lists the sources of w and their answers. s.mu is held.
func (s *Session) notFound(w *want) error {
	e := &SourcesError{CID: w.cid}
	for _, src := range s.sources {
		if why, ok := w.tried[src]; ok {
			e.Answers = append(e.Answers, fmt.Sprintf("%s: %s", src.info.ID, why))
		}
	}
	return e
}

// finish ends w for all waiting callers. s.mu is held.
func (s *Session) finish(w *want, b dag.Block, err error) {
	if s.wants[w.cid.KeyString()] != w {
		return
	}
	delete(s.wants, w.cid.KeyString())
	w.block, w.err = b, err
	close(w.done)
}

// store puts a checked block.
func (s *Session) store(src *source, w *want, b dag.Block) {
	err := s.local.Put(s.ctx, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.finish(w, dag.Block{}, fmt.Errorf("store fetched block: %w", err))
	} else {
		s.stored.Add(1)
		s.fetched.Blocks++
		s.fetched.Bytes += int64(len(b.Data()))
		s.finish(w, b, nil)
	}
	s.dispatch()
}

// refused records that src does not return ws, and queues them for other sources.
func (s *Session) refused(src *source, why string, ws ...*want) {
	s.mu.Lock()
	for _, w := range ws {
		w.tried[src] = why
	}
	s.mu.Unlock()
	s.requeue(ws...)
}

// requeue queues ws again, before all others.
func (s *Session) requeue(ws ...*want) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var urgent, early []*want
	for _, w := range ws {
		if w.waiters > 0 {
			urgent = append(urgent, w)
		} else {
			early = append(early, w)
		}
	}
	s.urgent = append(urgent, s.urgent...)
	s.early = append(early, s.early...)
	s.dispatch()
}
