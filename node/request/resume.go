package request

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// How long a Resume looks for the peer that has the job, and how often.
const (
	resumeTime  = 10 * time.Second
	resumeEvery = 500 * time.Millisecond
)

// Resume takes up, after a restart, what a peer was doing for this job, and returns when
// it has come to its end. An error means that the job is to be placed anew.
func (r *Run) Resume(ctx context.Context, l Lease) (Result, error) {
	d := &driver{Run: r, printed: printed{out: r.World.Output()}, over: make(chan struct{})}
	var err error
	for until := r.Clock().Add(resumeTime); ; {
		var conv *market.Conversation
		if conv, err = d.reattach(ctx, l); err == nil {
			d.World.Event(api.Event{Kind: api.EventNote, Peer: string(l.Peer), Text: "found again where it ran"})
			var result Result
			if result, err = d.follow(ctx, conv, l); err == nil {
				return result, nil
			}
		}
		var failed *market.FailedError
		var broke *market.ProtocolError
		if errors.As(err, &failed) || errors.As(err, &broke) || !r.Clock().Before(until) {
			return Result{}, err
		}
		select {
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		case <-time.After(resumeEvery):
		}
	}
}

// follow reads the run to its end.
func (d *driver) follow(ctx context.Context, conv *market.Conversation, l Lease) (Result, error) {
	t := &talk{d: d, conv: conv, awarded: true}
	defer func() {
		if errors.Is(context.Cause(ctx), ErrReturning) {
			d.returning.Store(true)
		}
		t.leave("cancelled")
	}()
	for {
		e, err := conv.Next(ctx)
		if err != nil {
			return Result{}, err
		}
		switch e := e.(type) {
		case market.Log:
			if err := d.printed.add(e.Stream, e.Offset, e.Data); err != nil {
				return Result{}, fmt.Errorf("show output: %w", err)
			}
		case market.Done:
			if err := owed(d.Request.Job, e); err != nil {
				return Result{}, err
			}
			r, err := d.World.Keep(ctx, l.Peer, e, conv.Blocks(ctx))
			if err == nil {
				t.leave("ok")
			}
			return r, err
		}
	}
}
