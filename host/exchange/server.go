package exchange

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Limits of one served stream.
const (
	queuedRequests = 8 // read and not answered; at the limit no more is read
	readAhead      = 4 // blocks that are read before they can be sent
)

// counter counts what was served.
type counter struct{ blocks, bytes, refused atomic.Int64 }

func (c *counter) read() Sent { return Sent{c.blocks.Load(), c.bytes.Load(), c.refused.Load()} }

// serve handles one stream: one goroutine reads requests, one writes answers.
func (x *Exchange) serve(s network.Stream) {
	p := s.Conn().RemotePeer()
	if !x.gate.Enter(p) {
		s.Reset()
		return
	}
	defer x.gate.Leave(p)
	ctx, cancel := context.WithCancelCause(x.ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { s.Reset() })()
	v := &served{x: x, s: s, peer: p}
	requests := make(chan request, queuedRequests)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(requests)
		if err := v.readRequests(ctx, requests); err != nil {
			cancel(err)
		}
	})
	err := v.answerAll(ctx, requests)
	if err == nil && ctx.Err() == nil {
		s.Close()
	} else {
		cancel(err)
		s.Reset()
		x.cfg.Logger.Debug("serving blocks to peer ended", "peer", p, "err", errors.Join(err, context.Cause(ctx)))
	}
	for range requests { // unblocks the reader until it ends
	}
	reading.Wait()
}

// served is a stream on which blocks are served.
type served struct {
	x          *Exchange
	s          network.Stream
	peer       peer.ID
	unanswered atomic.Int64 // requests that are read and not answered
}

// readRequests reads until the peer closes its side or stays idle: both end the stream cleanly, so that all sent data
// still arrives.
func (v *served) readRequests(ctx context.Context, requests chan<- request) error {
	r := bufio.NewReader(v.s)
	for {
		// A request must arrive completely in time. The stream is idle when no request arrives in time and all
		// requests are answered.
		v.s.SetReadDeadline(time.Now().Add(2 * v.x.cfg.Idle))
		_, err := r.Peek(1)
		switch {
		case err == nil:
		case isTimeout(err) && v.unanswered.Load() > 0:
			continue
		case isTimeout(err), errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
		v.s.SetReadDeadline(time.Now().Add(v.x.cfg.Frame))
		b, err := readFrame(r, maxRequest)
		if err != nil {
			return err
		}
		req, err := decodeRequest(b)
		if err != nil {
			return err
		}
		v.unanswered.Add(1)
		select {
		case requests <- req:
		case <-ctx.Done():
			return nil
		}
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func (v *served) answerAll(ctx context.Context, requests <-chan request) error {
	for {
		select {
		case req, ok := <-requests:
			if !ok {
				return nil
			}
			if err := v.answer(ctx, req); err != nil {
				return err
			}
			v.unanswered.Add(-1)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (v *served) answer(ctx context.Context, req request) error {
	if req.op == opHave {
		held := make([]byte, len(req.cids))
		for i, c := range req.cids {
			held[i] = v.has(ctx, c)
		}
		return v.write(appendFrame(nil, held))
	}
	var ahead []*pendingBlock
	for i := range req.cids {
		for n := i + len(ahead); n < len(req.cids) && len(ahead) <= readAhead; n++ {
			l := v.load(ctx, req.cids[n], len(ahead) > 0)
			if l == nil {
				break
			}
			ahead = append(ahead, l)
		}
		l := ahead[0]
		ahead = ahead[1:]
		err := v.send(l)
		l.free()
		if err != nil {
			for _, l := range ahead {
				l.free()
			}
			return err
		}
	}
	return nil
}

// pendingBlock is a block that is being read from the store.
type pendingBlock struct {
	done   chan struct{} // closed when status and block are set; nil: they are set
	leave  func()        // frees the place that it holds; nil: it holds none
	status byte
	block  dag.Block
}

// load starts to read a block. With early it reads in the background, which needs a place: it returns nil when all
// places are taken.
func (v *served) load(ctx context.Context, c cid.Cid, early bool) *pendingBlock {
	l := &pendingBlock{}
	if !early {
		l.status, l.block = v.get(ctx, c)
		return l
	}
	if !v.x.ahead.Enter(v.peer) {
		return nil
	}
	l.leave, l.done = func() { v.x.ahead.Leave(v.peer) }, make(chan struct{})
	v.x.gate.Go(func() {
		defer close(l.done)
		l.status, l.block = v.get(ctx, c)
	})
	return l
}

func (l *pendingBlock) wait() {
	if l.done != nil {
		<-l.done
	}
}

// free frees the block's place, after it was read.
func (l *pendingBlock) free() {
	l.wait()
	if l.leave != nil {
		l.leave()
	}
}

// get reads a block if the peer may have it.
func (v *served) get(ctx context.Context, c cid.Cid) (byte, dag.Block) {
	verdict := v.x.cfg.Access.decide(ctx, v.peer, c)
	if verdict == denied {
		v.x.sent.refused.Add(1)
		return isRefused, dag.Block{}
	}
	b, err := v.x.cfg.Blocks.Get(ctx, c)
	var missing *dag.NotFoundError
	switch {
	case errors.As(err, &missing):
		return isMissing, dag.Block{}
	case err != nil:
		v.logReadError(ctx, c, err)
		return isMissing, dag.Block{}
	case verdict == unlessPrivate && !v.x.cfg.Access.contentAllowed(ctx, b):
		v.x.sent.refused.Add(1)
		return isMissing, dag.Block{} // so that a peer that guesses its content does not learn that it is here
	}
	return isHere, b
}

// has returns the answer for one link of a have.
func (v *served) has(ctx context.Context, c cid.Cid) byte {
	verdict := v.x.cfg.Access.decide(ctx, v.peer, c)
	if verdict == denied {
		v.x.sent.refused.Add(1)
		return isRefused
	}
	var held bool
	var err error
	if verdict == allowed {
		held, err = v.x.cfg.Blocks.Has(ctx, c)
	} else {
		held, err = v.x.cfg.Access.storedAllowed(ctx, c)
	}
	var missing *dag.NotFoundError
	if err != nil && !errors.As(err, &missing) {
		v.logReadError(ctx, c, err)
	}
	if !held {
		return isMissing
	}
	return isHere
}

// logReadError logs that a local block cannot be read, unless the stream has ended.
func (v *served) logReadError(ctx context.Context, c cid.Cid, err error) {
	if ctx.Err() == nil {
		v.x.cfg.Logger.Warn("read block requested by peer", "peer", v.peer, "block", c, "err", err)
	}
}

func (v *served) send(l *pendingBlock) error {
	l.wait()
	data := l.block.Data()
	head := protowire.AppendVarint(make([]byte, 0, 8), uint64(1+len(data)))
	head = append(head, l.status)
	v.x.sent.bytes.Add(int64(len(data)))
	if l.status == isHere {
		v.x.sent.blocks.Add(1)
	}
	if len(data) < 16<<10 { // one write for a small block
		return v.write(append(head, data...))
	}
	if err := v.write(head); err != nil {
		return err
	}
	return v.write(data)
}

func (v *served) write(b []byte) error {
	v.s.SetWriteDeadline(time.Now().Add(v.x.cfg.Frame))
	if _, err := v.s.Write(b); err != nil {
		return fmt.Errorf("send blocks to peer: %w", err)
	}
	return nil
}
