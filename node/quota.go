package node

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// quota bounds the blocks of others. A peer that only computes keeps the inputs of the
// jobs that it ran last, and collects the rest when there is too much; another one keeps
// what its owner does, counts, and refuses jobs when its room is used up.
type quota struct {
	store   *store.Store
	limit   uint64
	collect func(context.Context) (api.Collected, error) // nil: it only counts
	full    chan struct{}                                // of capacity one: there is something to collect

	mu     sync.Mutex
	used   uint64
	recent []*recentUse // the latest first
}

// recentUse is the inputs of a job that ran not long ago.
type recentUse struct {
	roots   []cid.Cid
	bytes   uint64 // that were fetched for it
	session *store.Session
}

// maxRecent bounds how many jobs' inputs are kept, whatever their size.
const maxRecent = 1024

func newQuota(s *store.Store, limit uint64) *quota {
	return &quota{store: s, limit: limit, full: make(chan struct{}, 1)}
}

// room is how many more bytes of others there is room for. What can be collected is room.
func (q *quota) room() uint64 {
	if q.collect != nil {
		return q.limit
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.limit - min(q.limit, q.used)
}

// use counts what a job has brought, and keeps its inputs for the next that needs them.
func (q *quota) use(ctx context.Context, t job.Task, bytes uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used += bytes
	if q.collect == nil {
		return nil
	}
	roots := taskRoots(t)
	if i := slices.IndexFunc(q.recent, func(r *recentUse) bool { return slices.Equal(r.roots, roots) }); i >= 0 {
		r := q.recent[i]
		r.bytes += bytes
		q.recent = slices.Insert(slices.Delete(q.recent, i, i+1), 0, r)
	} else {
		r := &recentUse{roots: roots, bytes: bytes, session: q.store.Begin()}
		if err := r.session.Protect(ctx, roots...); err != nil {
			r.session.End()
			return err
		}
		q.recent = slices.Insert(q.recent, 0, r)
	}
	if q.used > q.limit || len(q.recent) > maxRecent {
		select {
		case q.full <- struct{}{}:
		default:
		}
	}
	return nil
}

// emptied takes note that the owner has collected: what others' jobs have left is gone.
func (q *quota) emptied() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.collect == nil {
		q.used = 0
	}
}

// evict lets go of the inputs used longest ago until a fifth of the quota is free.
func (q *quota) evict() {
	q.mu.Lock()
	defer q.mu.Unlock()
	var sum uint64
	for i, r := range q.recent {
		sum += r.bytes
		if sum > q.limit/5*4 || i >= maxRecent/5*4 {
			for _, old := range q.recent[i:] {
				old.session.End()
			}
			q.recent = q.recent[:i]
			return
		}
	}
}

// keep collects when there is too much, until ctx ends.
func (q *quota) keep(ctx context.Context) error {
	if q.collect == nil {
		return nil
	}
	defer q.release()
	for {
		q.evict()
		done, err := q.collect(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("collect what is over the quota: %w", err)
		}
		q.mu.Lock()
		q.used = uint64(max(0, done.KeptBytes))
		q.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-q.full:
		}
	}
}

// release lets go of all inputs.
func (q *quota) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.recent {
		r.session.End()
	}
	q.recent = nil
}
