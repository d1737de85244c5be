package node

import (
	"cmp"
	"context"

	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/request"
)

// paced shows an attached client the progress of a job in the market at the client's own pace. A client that
// reads slowly, or not at all, must block neither the streams to peers, whose leases depend on heartbeats, nor
// the guest: all output goes through the spool.
type paced struct {
	x        *running
	progress chan [2]int64 // of capacity one: the latest value
	stop     context.CancelFunc
	shown    chan error // receives the result of copying the output
}

// pace starts showing x. Events continue after end, up to the last one. failed is called with the error of one
// of the client's writers.
func (x *running) pace(failed context.CancelCauseFunc) (*paced, error) {
	p := &paced{x: x, progress: make(chan [2]int64, 1), shown: make(chan error, 1)}
	x.eventMu.Lock()
	deliver := x.watch.Event
	x.watch.Event = nil
	from := 0
	if events := x.snapshot().Events; len(events) > 0 {
		from = events[len(events)-1].Seq + 1
	}
	x.eventMu.Unlock()
	if deliver != nil {
		x.viewers.Go(func() {
			x.follow(context.Background(), from, func(e api.Event) error { deliver(e); return nil }) //nolint:errcheck // cannot fail
		})
	}
	r, err := x.spool.Open()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	// No goroutine is waited for: a stuck writer ends when its client does.
	if x.watch.Progress != nil {
		go p.showProgress(ctx)
	}
	go func() {
		defer r.Close()
		out, errs := &firstError{w: x.watch.Stdout}, &firstError{w: x.watch.Stderr}
		r.CopyTo(ctx, out.orNil(), errs.orNil()) //nolint:errcheck // a writer's error is read below
		x.recordMisled(r.Misled())
		err := cmp.Or(out.err, errs.err)
		p.shown <- err
		if err != nil {
			failed(err)
		}
	}()
	return p, nil
}

func (p *paced) showProgress(ctx context.Context) {
	for {
		select {
		case v := <-p.progress:
			p.x.watch.Progress(v[0], v[1])
		case <-ctx.Done():
			return
		}
	}
}

// output returns the writers for the run: they never block.
func (p *paced) output() request.Output {
	o := request.Output{Stdout: p.x.spool.Writer(1), Stderr: p.x.spool.Writer(2), Restart: p.x.spool.Restart}
	if p.x.watch.Progress != nil {
		o.Progress = func(done, total int64) {
			select {
			case <-p.progress:
			default:
			}
			select {
			case p.progress <- [2]int64{done, total}:
			default:
			}
		}
	}
	return o
}

// end returns when the client has all of the output, or ctx ends before. The error is that of one of the
// client's writers, or an *api.Error if a client that reads output has not received all of it.
func (p *paced) end(ctx context.Context) error {
	defer p.stop()
	p.x.spool.Stop()
	select {
	case err := <-p.shown:
		return err
	case <-ctx.Done():
	}
	select { // its error may be why ctx has ended
	case err := <-p.shown:
		return err
	default:
	}
	if p.x.watch.Stdout == nil && p.x.watch.Stderr == nil {
		return nil
	}
	return apiError(ctx, context.Cause(ctx))
}
