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

// quota bounds the disk space of other peers' blocks. A compute-only peer keeps the inputs of its most recent
// jobs and collects the rest when the quota is exceeded. Any other peer keeps data as its owner does: it only
// counts the bytes, and refuses jobs when the quota is used up.
type quota struct {
	store   *store.Store
	limit   uint64
	collect func(context.Context) (api.Collected, error) // nil: count only
	full    chan struct{}                                // of capacity one: a collection is due

	mu     sync.Mutex
	used   uint64
	recent []*recentUse // latest first
}

// recentUse is the inputs of a recent job.
type recentUse struct {
	roots   []cid.Cid
	bytes   uint64 // fetched for the job
	session *store.Session
}

// maxRecent bounds the number of jobs whose inputs are kept, whatever their size.
const maxRecent = 1024

func newQuota(s *store.Store, limit uint64) *quota {
	return &quota{store: s, limit: limit, full: make(chan struct{}, 1)}
}

// room returns how many more bytes fit into the quota. Bytes that can be collected count as free.
func (q *quota) room() uint64 {
	if q.collect != nil {
		return q.limit
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.limit - min(q.limit, q.used)
}

// use counts the bytes that a job has brought, and keeps its inputs for later jobs.
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

// collected is called after the owner has run a collection: the blocks that other peers' jobs left are gone.
func (q *quota) collected() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.collect == nil {
		q.used = 0
	}
}

// evict stops protecting the inputs used longest ago until a fifth of the quota is free.
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

// keep runs a collection whenever the quota is exceeded, until ctx ends.
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
			return fmt.Errorf("delete blocks over quota: %w", err)
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

// release stops protecting all inputs.
func (q *quota) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.recent {
		r.session.End()
	}
	q.recent = nil
}
