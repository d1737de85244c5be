package exchange

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// firstAverage is the assumed size of a block before the first one has arrived, in bytes.
const firstAverage = 256 << 10

// Limits of the unanswered wants of one source, in blocks.
const (
	minPending = 4
	maxPending = 512
	urgentRoom = 64 // more than that for blocks that a caller waits for
)

// source is a peer that a Session fetches from. The session's mutex guards its fields.
type source struct {
	session *Session
	info    peer.AddrInfo

	link     *link         // open stream; nil: none
	pending  int           // unanswered wants
	average  int64         // average bytes of recent blocks
	pace     time.Duration // time between two blocks; 0: none arrived yet
	last     time.Time     // time of the last answer, or when pending became positive
	banned   bool
	reason   string    // the last error
	retryAt  time.Time // earliest time of the next request
	failures int       // failures in a row
}

// unusable returns why src is not used now, or "".
func (src *source) unusable(now time.Time) string {
	if src.banned || now.Before(src.retryAt) {
		return src.reason
	}
	return ""
}

// room reports whether src may be asked for one more block. A source of unknown pace gets only a few wants while
// there are other sources.
func (src *source) room(urgent bool) bool {
	if src.pace == 0 && len(src.session.sources) > 1 {
		return src.pending < minPending
	}
	n := int(min(max(src.session.x.cfg.Window/src.average, minPending), maxPending))
	if urgent {
		n += urgentRoom
	}
	return src.pending < n
}

// wait returns the expected time until src would return one more block. A source of unknown pace is assumed to have
// the pace unknown.
func (src *source) wait(now time.Time, unknown time.Duration) time.Duration {
	pace := src.pace
	if pace == 0 {
		pace = unknown
	}
	if src.pending > 0 {
		pace = max(pace, now.Sub(src.last)) // it may have slowed down
	}
	return time.Duration(src.pending+1) * pace
}

// ban excludes src from the session.
func (src *source) ban(err error) {
	if !src.banned {
		src.banned, src.reason = true, oneLine(err)
	}
}

// oneLine returns the text of an error on one line; libp2p's errors have many lines.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// request queues w at src.
func (src *source) request(w *want) {
	if src.pending++; src.pending == 1 {
		src.last = time.Now()
	}
	if src.link == nil {
		src.link = newLink(src)
		src.session.running.Go(src.link.run)
	}
	src.link.queue = append(src.link.queue, w)
	select {
	case src.link.wake <- struct{}{}:
	default:
	}
}

// link is a stream to a source: one goroutine sends requests, one receives answers.
type link struct {
	src    *source
	s      *Session
	ctx    context.Context
	cancel context.CancelCauseFunc
	wake   chan struct{} // of capacity one: queue has grown

	// Guarded by the session's mutex.
	queue    []*want   // to request
	waiting  []*want   // requested, in the order of the answers
	lastByte time.Time // time of the last received byte, or when waiting became non-empty

	checks chan struct{} // a token for each block that is being hashed
}

func newLink(src *source) *link {
	l := &link{src: src, s: src.session, wake: make(chan struct{}, 1), checks: make(chan struct{}, 4)}
	l.ctx, l.cancel = context.WithCancelCause(src.session.ctx)
	return l
}

// errIdle ends an unused link.
var errIdle = errors.New("unused block stream")

// errStalled reports that a source does not answer.
var errStalled = errors.New("no answer to a block request")

// badAnswerError reports that a source sent something other than the requested block.
type badAnswerError struct{ err error }

func (e *badAnswerError) Error() string { return e.err.Error() }
func (e *badAnswerError) Unwrap() error { return e.err }

// run serves the link to its end, and moves its unanswered wants to other sources.
func (l *link) run() {
	err := l.converse()
	l.cancel(err)
	l.end(err)
}

func (l *link) converse() error {
	x := l.s.x
	if !l.s.mayAsk(l.src.info.ID) {
		return errNotAsked
	}
	ctx, cancel := context.WithTimeout(l.ctx, x.cfg.Dial)
	st, err := x.dial(ctx, l.src.info)
	cancel()
	if errors.Is(err, errNotSupported) && x.bitswap != nil {
		return l.bitswap()
	}
	if err != nil {
		return err
	}
	defer st.Reset()
	defer context.AfterFunc(l.ctx, func() { st.Reset() })()
	var running sync.WaitGroup
	running.Go(func() { l.cancel(l.receive(st)) })
	err = l.ask(st)
	l.cancel(err)
	st.Reset()
	running.Wait()
	return context.Cause(l.ctx)
}

// ask sends the queued wants, and checks that answers arrive.
func (l *link) ask(st network.Stream) error {
	cfg := l.s.x.cfg
	idle := time.NewTimer(cfg.Idle)
	defer idle.Stop()
	watch := time.NewTicker(max(cfg.Stall/4, time.Millisecond))
	defer watch.Stop()
	for {
		cids := l.takeQueued()
		if len(cids) > 0 {
			b, err := request{opWant, cids}.encode()
			if err != nil {
				return err
			}
			st.SetWriteDeadline(time.Now().Add(cfg.Stall))
			if _, err := st.Write(appendFrame(nil, b)); err != nil {
				return fmt.Errorf("send block request: %w", err)
			}
			idle.Reset(cfg.Idle)
			continue
		}
		select {
		case <-l.wake:
		case <-idle.C:
			if l.release() {
				return errIdle
			}
			idle.Reset(cfg.Idle)
		case now := <-watch.C:
			if l.stalled(now) {
				return fmt.Errorf("%w for %s", errStalled, cfg.Stall)
			}
			l.s.requeue() // wants queued for a source that has become slow
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		}
	}
}

// takeQueued moves the wants of the next request from queue to waiting.
func (l *link) takeQueued() []cid.Cid {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	n := min(len(l.queue), perRequest)
	if n > 0 && len(l.waiting) == 0 {
		l.lastByte = time.Now()
	}
	cids := make([]cid.Cid, n)
	for i, w := range l.queue[:n] {
		cids[i] = w.cid
	}
	l.waiting = append(l.waiting, l.queue[:n]...)
	l.queue = l.queue[n:]
	return cids
}

// stalled reports whether answers are due and none has arrived within Stall.
func (l *link) stalled(now time.Time) bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if len(l.checks) == cap(l.checks) { // this node is the slow one
		l.lastByte = now
	}
	return len(l.waiting) > 0 && now.Sub(l.lastByte) > l.s.x.cfg.Stall
}

// release detaches an unused link from its source, and reports whether it did.
func (l *link) release() bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if len(l.queue)+len(l.waiting) > 0 {
		return false
	}
	if l.src.link == l {
		l.src.link = nil
	}
	return true
}

// receive reads answers, and hashes a few of them at a time.
func (l *link) receive(st network.Stream) error {
	r := bufio.NewReaderSize(&progress{st, l}, 64<<10)
	for {
		b, err := l.answer(st, r)
		if err != nil {
			return err
		}
		w := l.takeWaiting()
		if w == nil {
			return &badAnswerError{errors.New("sent a block answer that was not requested")}
		}
		switch b[0] {
		case isHere:
			select {
			case l.checks <- struct{}{}:
			case <-l.ctx.Done():
				l.putBack(w)
				return context.Cause(l.ctx)
			}
			l.s.running.Go(func() {
				defer func() { <-l.checks }()
				l.check(w, b[1:])
			})
		case isMissing:
			l.drop(w, "does not have the block")
		case isRefused:
			l.drop(w, "refused to send the block")
		default:
			l.drop(w, "sent an invalid block answer")
			return &badAnswerError{fmt.Errorf("block answer: unknown status %d", b[0])}
		}
	}
}

// answer reads one frame. ask checks that a due frame begins in time; Frame limits the time from its first byte to
// its last.
func (l *link) answer(st network.Stream, r *bufio.Reader) ([]byte, error) {
	st.SetReadDeadline(time.Time{})
	if _, err := r.Peek(1); err != nil {
		return nil, fmt.Errorf("receive block answer: %w", noEOF(err))
	}
	st.SetReadDeadline(time.Now().Add(l.s.x.cfg.Frame))
	b, err := readFrame(r, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("receive block answer: %w", err)
	}
	if b[0] != isHere && len(b) > 1 {
		return nil, &badAnswerError{errors.New("block answer: data after a refusal")}
	}
	return b, nil
}

// progress records the time of every received byte.
type progress struct {
	r io.Reader
	l *link
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 {
		p.l.s.mu.Lock()
		p.l.lastByte = time.Now()
		p.l.s.mu.Unlock()
	}
	return n, err
}

// takeWaiting removes the want of the next answer from waiting.
func (l *link) takeWaiting() *want {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if len(l.waiting) == 0 {
		return nil
	}
	w := l.waiting[0]
	l.waiting = l.waiting[1:]
	return w
}

// putBack reverts takeWaiting, so that end finds w.
func (l *link) putBack(w *want) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.waiting = append([]*want{w}, l.waiting...)
}

// check hashes the data received for w.
func (l *link) check(w *want, data []byte) {
	b, err := dag.CheckBlock(w.cid, data)
	if err != nil {
		l.s.mu.Lock()
		l.src.ban(err) // now, whatever error ends the link first
		l.s.mu.Unlock()
		l.cancel(&badAnswerError{err})
		l.drop(w, "sent bytes that do not match the block's CID")
		return
	}
	l.recordAnswer(int64(len(data)))
	l.s.store(l.src, w, b)
}

// recordAnswer counts an answer, of n bytes if it is a block.
func (l *link) recordAnswer(n int64) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	src, now := l.src, time.Now()
	src.pending--
	if n > 0 {
		took := max(now.Sub(src.last), 1)
		if src.pace > 0 {
			took = (3*src.pace + took) / 4
		}
		src.pace, src.average = took, max(1, (7*src.average+n)/8)
	}
	src.last, src.failures = now, 0
}

func (l *link) drop(w *want, why string) {
	l.recordAnswer(0)
	l.s.refused(l.src, why, w)
}

// end detaches the link from its source after err, and moves its wants to other sources.
func (l *link) end(err error) {
	s := l.s
	s.mu.Lock()
	lost := append(l.waiting, l.queue...)
	l.waiting, l.queue = nil, nil
	if l.src.link == l {
		l.src.link = nil
	}
	l.src.pending -= len(lost)
	if lie := (*badAnswerError)(nil); errors.As(err, &lie) {
		l.src.ban(lie)
	}
	again := errors.Is(err, errIdle) || len(lost) == 0 && !l.src.banned // either end may close an unused stream
	if !again {
		if !l.src.banned {
			l.src.reason = oneLine(err)
		}
		l.src.failures = min(l.src.failures+1, 6)
		// A stream may break with its connection: a new one is tried at once.
		again = l.src.failures == 1 && !l.src.banned && !errors.Is(err, errStalled) && !errors.Is(err, errNotAsked)
		if !again {
			l.src.retryAt = time.Now().Add(time.Second << l.src.failures)
		}
	}
	why := l.src.reason
	s.mu.Unlock()
	if again {
		s.requeue(lost...)
	} else {
		s.refused(l.src, why, lost...)
	}
}

// errNotSupported reports that a peer does not support the liftoff protocol.
var errNotSupported = errors.New("protocol " + string(Protocol) + " is not supported")

// dial opens a stream to p.
func (x *Exchange) dial(ctx context.Context, p peer.AddrInfo) (network.Stream, error) {
	if x.host.Network().Connectedness(p.ID) != network.Connected && len(p.Addrs) > 0 {
		if err := x.host.Connect(ctx, p); err != nil {
			return nil, fmt.Errorf("connect to peer: %w", err)
		}
	}
	st, err := x.host.NewStream(ctx, p.ID, Protocol)
	if errors.Is(err, multistream.ErrNotSupported[protocol.ID]{}) {
		return nil, errNotSupported
	}
	if err != nil {
		return nil, fmt.Errorf("open block stream to peer: %w", err)
	}
	return st, nil
}

// errNotAsked reports that a peer may not see the CIDs that this node wants.
var errNotAsked = errors.New("its relation to this node does not allow asking it for blocks")

// Have asks p which of at most 1,024 blocks it has and would send, if p may be asked. It connects if necessary; the
// caller limits its time by ctx.
func (x *Exchange) Have(ctx context.Context, p peer.AddrInfo, cids []cid.Cid) ([]bool, error) {
	err := errNotAsked
	var held []bool
	if x.cfg.Access.allows(p.ID, host.BeAsked) {
		held, err = x.have(ctx, p, cids)
	}
	if err != nil {
		return nil, fmt.Errorf("ask peer %s for blocks that it has: %w", p.ID, err)
	}
	return held, nil
}

func (x *Exchange) have(ctx context.Context, p peer.AddrInfo, cids []cid.Cid) ([]bool, error) {
	if len(cids) == 0 || len(cids) > maxCIDs {
		return nil, fmt.Errorf("block request: got %d CIDs, want 1 to %d", len(cids), maxCIDs)
	}
	ctx, cancel := context.WithTimeout(ctx, x.cfg.Dial)
	defer cancel()
	st, err := x.dial(ctx, p)
	if err != nil {
		return nil, err
	}
	defer st.Reset()
	defer context.AfterFunc(ctx, func() { st.Reset() })()
	b, err := request{opHave, cids}.encode()
	if err != nil {
		return nil, err
	}
	if _, err := st.Write(appendFrame(nil, b)); err != nil {
		return nil, err
	}
	answer, err := readFrame(bufio.NewReader(st), maxCIDs)
	if err != nil {
		return nil, err
	}
	if len(answer) != len(cids) {
		return nil, fmt.Errorf("peer sent %d block answers, want %d", len(answer), len(cids))
	}
	held := make([]bool, len(cids))
	for i, a := range answer {
		held[i] = a == isHere
	}
	return held, nil
}
