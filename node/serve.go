package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// service is a node that stays: jobs go on in it without their clients.
type service struct {
	life context.Context // of jobs; its cause is errLeaving

	mu      sync.Mutex
	closing bool
	count   int
	jobs    sync.WaitGroup
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

// close refuses further jobs.
func (s *service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
}

// defaultGrace is how long jobs may run on when the process shall end.
const defaultGrace = 10 * time.Second

// Serve makes the node one that stays: until ctx ends it takes submitted jobs, goes on
// with those of the process before it and, with a Config.Network, is a peer. Then it
// takes no more, gives what runs Config.Grace to end, and returns when all goroutines
// that it has started have ended. Submitted jobs that have not ended by then are taken
// up by the next Serve over the repo.
func (n *Node) Serve(ctx context.Context) error {
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	s := &service{life: life}
	if !n.serving.CompareAndSwap(nil, s) {
		return errors.New("serve: it serves already")
	}
	defer n.serving.Store(nil)
	if err := n.resume(ctx, s); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	<-ctx.Done()
	s.drain(n.grace, end)
	return nil
}

// drain waits for what runs, first for grace and then, cancelled, for as long as it takes.
func (s *service) drain(grace time.Duration, end context.CancelCauseFunc) {
	s.close()
	t := time.AfterFunc(grace, func() { end(errLeaving) })
	defer t.Stop()
	s.jobs.Wait()
}
