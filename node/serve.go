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

// defaultGrace is the default time that running jobs get to finish at shutdown.
const defaultGrace = 10 * time.Second

// service is the state of a serving node: submitted jobs run in it without their clients.
type service struct {
	life context.Context // the jobs' context; its cause is request.ErrReturning

	mu      sync.Mutex
	closing bool
	count   int
	jobs    sync.WaitGroup
}

// Serve runs the node until ctx ends: it accepts submitted jobs, resumes those of the previous process and, with
// a Config.Network, is a peer. At the end it accepts no more jobs, gives the running ones Config.Grace to
// finish, and returns when all goroutines that it has started have ended. The next Serve over the repo resumes
// submitted jobs that have not ended by then; other peers' jobs are handed back.
func (n *Node) Serve(ctx context.Context) error {
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	if !n.isServing.CompareAndSwap(false, true) {
		return errors.New("serve: this node is already serving")
	}
	defer n.isServing.Store(false)
	_ = n.checkRoom() // logs a full disk
	// This comes before the slow steps, so that other processes see these jobs as running.
	loaded, err := n.loadSubmitted(ctx)
	if err != nil {
		return fmt.Errorf("start serving: %w", err)
	}
	defer func() { n.drop(loaded) }()
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
			return fmt.Errorf("start serving: %w", err)
		}
		n.net.Store(w)
		defer n.net.Store(nil)
	}
	s := &service{life: life}
	n.serving.Store(s)
	defer n.serving.Store(nil)

	g, ctx := errgroup.WithContext(ctx)
	loops, stop := context.WithCancel(context.WithoutCancel(ctx)) // ends after the last job
	defer stop()
	g.Go(func() error { return n.scrub(loops) })
	g.Go(func() error { return n.watchRoom(loops) })
	if w != nil {
		g.Go(func() error { return w.queue.expireLeases(loops) })
		g.Go(func() error { return w.publishChanges(loops) })
		g.Go(func() error { return w.keepConnected(loops) })
		g.Go(func() error { return w.quota.keep(loops) })
	}
	n.resume(s, loaded)
	loaded = nil
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

// begin starts a job, unless there are too many or the service is shutting down.
func (s *service) begin(run func(life context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.count >= maxSubmitted {
		return false
	}
	s.count++
	s.jobs.Go(func() {
		run(s.life)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.count--
	})
	return true
}

// drain accepts no more jobs and waits for the running ones: first for grace, and then, cancelled, until they
// have ended.
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
