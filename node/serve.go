package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ipfs-liftoff/liftoff/node/request"
)

// defaultGrace is how long jobs may run on when the process shall end.
const defaultGrace = 10 * time.Second

// service is a node that stays: jobs go on in it without their clients.
type service struct {
	life context.Context // of jobs; its cause is request.ErrReturning

	mu      sync.Mutex
	closing bool
	count   int
	jobs    sync.WaitGroup
}

// Serve makes the node one that stays: until ctx ends it takes submitted jobs, goes on
// with those of the process before it and, with a Config.Network, is a peer. Then it
// takes no more, gives what runs Config.Grace to end, and returns when all goroutines
// that it has started have ended. Submitted jobs that have not ended by then are taken
// up by the next Serve over the repo; other peers' jobs are handed back.
func (n *Node) Serve(ctx context.Context) error {
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	if !n.stays.CompareAndSwap(false, true) {
		return errors.New("serve: it serves already")
	}
	defer n.stays.Store(false)
	_ = n.findRoom() // which logs it
	// Before anything that takes long: who looks at them shall see that they run.
	taken, err := n.takeUp(ctx)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	defer func() { n.drop(taken) }()
	var w *network
	if n.network != nil {
		err := n.awaitRoom(ctx, func() error {
			if w, err = openNetwork(ctx, n, *n.network); err != nil {
				return err
			}
			if err := w.enterCluster(ctx); err != nil {
				return errors.Join(err, w.close())
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("serve: %w", err)
		}
		n.net.Store(w)
		defer n.net.Store(nil)
	}
	s := &service{life: life}
	n.serving.Store(s)
	defer n.serving.Store(nil)

	g, ctx := errgroup.WithContext(ctx)
	loops, stop := context.WithCancel(context.WithoutCancel(ctx)) // for as long as jobs run
	defer stop()
	g.Go(func() error { return n.scrub(loops) })
	g.Go(func() error { return n.watchRoom(loops) })
	if w != nil {
		g.Go(func() error { return w.book.keep(loops) })
		g.Go(func() error { return w.keepState(loops) })
		g.Go(func() error { return w.keepConnected(loops) })
		g.Go(func() error { return w.quota.keep(loops) })
	}
	n.resume(s, taken)
	taken = nil
	if n.ready != nil {
		n.ready()
	}
	g.Go(func() error {
		<-ctx.Done()
		s.drain(w, n.grace, end)
		stop()
		return nil
	})
	return errors.Join(g.Wait(), closeNetwork(w))
}

func closeNetwork(w *network) error {
	if w == nil {
		return nil
	}
	return w.close()
}

// begin starts a job, unless there are too many or the service is about to end.
func (s *service) begin(carry func(life context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.count >= maxSubmitted {
		return false
	}
	s.count++
	s.jobs.Go(func() {
		carry(s.life)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.count--
	})
	return true
}

// drain takes no more jobs and waits for those that run, first for grace and then,
// cancelled, for as long as it takes.
func (s *service) drain(w *network, grace time.Duration, end context.CancelCauseFunc) {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	defer context.AfterFunc(ctx, func() { end(request.ErrReturning) })()
	var both sync.WaitGroup
	if w != nil {
		both.Go(func() { w.provider.drain(ctx) })
	}
	both.Go(s.jobs.Wait)
	both.Wait()
}
