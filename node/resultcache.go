package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// cachedResult is the record "m/" and the Task's CID as bytes: the Outcome that the Task evaluates to.
type cachedResult struct {
	Outcome cid.Cid   `json:"outcome"`
	Receipt cid.Cid   `json:"receipt"`
	Issuer  job.DID   `json:"issuer"`
	Created time.Time `json:"created"`
	// Whole is the store's generation in which the repo was known to have the whole output; 0: in none.
	Whole uint64    `json:"whole,omitempty"`
	Refs  []cid.Cid `json:"refs,omitempty"` // as in api.Job
}

const cachePrefix = "m/"

func cacheKey(task cid.Cid) string { return cachePrefix + task.KeyString() }

func (m cachedResult) record(task cid.Cid) (store.Record, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return store.Record{}, fmt.Errorf("encode cached result of task %s: %w", task, err)
	}
	return store.Record{Name: cacheKey(task), Value: b}, nil
}

// cached returns the cached result of a task.
func (n *Node) cached(task cid.Cid) (m cachedResult, found bool, err error) {
	b, found, err := n.store.Lookup(cacheKey(task))
	if err != nil || !found {
		return cachedResult{}, false, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return cachedResult{}, false, fmt.Errorf("read cached result of task %s: %w", task, err)
	}
	return m, true, nil
}

// cacheTrusted adds to records the cached result that follows from a receipt of a trusted key, unless the Task
// has one already.
func (n *Node) cacheTrusted(records []store.Record, receipt cid.Cid, issuer job.DID, task, outcome cid.Cid) ([]store.Record, error) {
	if _, found, err := n.cached(task); err != nil || found {
		return records, err
	}
	r, err := cachedResult{Outcome: outcome, Receipt: receipt, Issuer: issuer, Created: n.clock().UTC()}.record(task)
	if err != nil {
		return records, err
	}
	return append(records, r), nil
}

// fits reports whether a run under the limits l would have the Outcome o. An Outcome that was ended by a limit
// names its limits: it is valid for equal limits only.
func fits(o job.Outcome, l job.Limits) bool {
	if o.Limits != nil {
		return *o.Limits == l
	}
	return o.Fuel <= l.Fuel && o.Pages <= l.Pages && o.Size <= l.Out && o.Tmp <= l.Tmp && o.Log <= l.Log
}

// answerFromCache answers the Task from the result cache, if possible: it shows the printed output and fills in j. An
// error is that of one of w's writers, or of ctx. Any other problem of the cached result is a miss, and the Task
// is run.
func (e *evaluation) answerFromCache(ctx context.Context, w api.Watch, j *api.Job) (hit bool, err error) {
	m, o, ok := e.usable(ctx)
	if !ok {
		return false, nil
	}
	for _, p := range []printed{{o.Stdout, w.Stdout}, {o.Stderr, w.Stderr}} {
		if !p.readable(ctx, e.session) {
			return false, nil
		}
	}
	for _, p := range []printed{{o.Stdout, w.Stdout}, {o.Stderr, w.Stderr}} {
		if err := p.show(ctx, e.session); err != nil {
			return false, err
		}
	}
	j.OutcomeCID, j.Outcome, j.Receipt, j.Cached, j.Refs = m.Outcome, &o, m.Receipt, true, m.Refs
	return true, nil
}

// usable returns the cached result of the Task and its Outcome if it can replace a run.
func (e *evaluation) usable(ctx context.Context) (cachedResult, job.Outcome, bool) {
	n, task := e.node, e.task.CID()
	if e.r.NoCache || e.r.Task.Det == job.DetNone {
		return cachedResult{}, job.Outcome{}, false
	}
	none := func(err error) (cachedResult, job.Outcome, bool) {
		var missing *dag.NotFoundError
		if err != nil && !errors.As(err, &missing) && ctx.Err() == nil {
			n.log.Warn("use cached result", "task", task, "err", err)
		}
		return cachedResult{}, job.Outcome{}, false
	}
	m, found, err := n.cached(task)
	if err != nil || !found {
		return none(err)
	}
	if m.Issuer != e.self.DID && e.answers.job.Defined() {
		return none(nil) // other peers get only the results of this node's own runs
	}
	if m.Issuer != e.self.DID {
		trust, err := n.self.trusted()
		if err != nil || !trust.Has(m.Issuer) {
			return none(err)
		}
	}
	b, err := e.session.Get(ctx, m.Outcome)
	if err != nil {
		return none(err)
	}
	o, err := job.DecodeOutcome(b.Data())
	if err != nil || o.Task != task {
		return none(err)
	}
	if !fits(o, e.r.Limits.OrDefault()) {
		return none(nil)
	}
	if here, err := e.session.Has(ctx, m.Receipt); err != nil || !here {
		return none(err)
	}
	if err := e.protectWhole(ctx, &m, o); err != nil {
		return none(err)
	}
	return m, o, true
}

// protectWhole returns an error unless the repo has all of the output, and protects it. It walks the blocks only if a
// collection has removed some since the last walk.
func (e *evaluation) protectWhole(ctx context.Context, m *cachedResult, o job.Outcome) error {
	roots := outputs(o)
	if err := e.session.Protect(ctx, roots...); err != nil {
		return err
	}
	now, err := e.node.store.Generation()
	if err != nil || now == m.Whole {
		return err
	}
	err = dag.Walk(ctx, e.session, roots, dag.WalkOptions{Opaque: dag.IgnoreOpaque}, func(dag.Visited) error { return nil })
	if err == nil && m.Issuer != e.self.DID {
		m.Refs, err = e.foreignRefs(ctx, o)
	}
	if err != nil {
		return err
	}
	m.Whole = now
	r, err := m.record(e.task.CID())
	e.records = append(e.records, r)
	return err
}

// outputs returns the roots of a run's output: its DAG, stdout and stderr.
func outputs(o job.Outcome) []cid.Cid {
	return slices.DeleteFunc([]cid.Cid{o.Root, o.Stdout, o.Stderr}, func(c cid.Cid) bool { return !c.Defined() })
}

// CachedResults implements api.Cache. If the repo lacks the Outcome, only the CIDs are filled in.
func (v *View) CachedResults(ctx context.Context) ([]api.CachedResult, error) {
	var all []api.CachedResult
	err := v.node.eachCachedResult(ctx, func(task cid.Cid, m cachedResult) {
		all = append(all, api.CachedResult{Task: task, Outcome: m.Outcome, Receipt: m.Receipt, Issuer: m.Issuer, Created: m.Created})
	})
	if err != nil {
		return nil, apiError(ctx, err)
	}
	for i, m := range all {
		b, err := v.node.store.Get(ctx, m.Outcome)
		if ctx.Err() != nil {
			return nil, apiError(ctx, err)
		}
		if err != nil {
			continue
		}
		if o, err := job.DecodeOutcome(b.Data()); err == nil {
			all[i].State, all[i].Code, all[i].Fuel, all[i].Size = o.State, o.Code, o.Fuel, o.Size
		}
	}
	slices.SortStableFunc(all, func(a, b api.CachedResult) int { return b.Created.Compare(a.Created) })
	return all, nil
}

// eachCachedResult calls fn, which must not call the store. Unreadable records are logged and skipped.
func (n *Node) eachCachedResult(ctx context.Context, fn func(task cid.Cid, m cachedResult)) error {
	return n.store.Records(ctx, cachePrefix, func(name string, value func() ([]byte, error)) error {
		task, err := cid.Cast([]byte(name[len(cachePrefix):]))
		if err != nil {
			return nil // an unknown record
		}
		b, err := value()
		if b == nil {
			return err
		}
		var m cachedResult
		if err := json.Unmarshal(b, &m); err != nil {
			n.log.Warn("read cached result", "task", task, "err", err)
			return nil
		}
		fn(task, m)
		return nil
	})
}

// Forget implements api.Cache.
func (v *View) Forget(ctx context.Context, task cid.Cid) error {
	n := v.node
	if !task.Defined() {
		return apiError(ctx, n.dropCachedResults(ctx, func(cachedResult) bool { return true }))
	}
	task = job.V1(task)
	_, found, err := n.store.Lookup(cacheKey(task))
	if err == nil && !found {
		return &api.Error{
			Code: api.CodeMissing, Message: fmt.Sprintf("no cached result of task %s", task),
			Hint: "`liftoff cache ls` lists the cached results",
		}
	}
	if err == nil {
		err = n.store.Commit(ctx, store.Batch{Records: []store.Record{{Name: cacheKey(task), Delete: true}}})
	}
	return apiError(ctx, err)
}

// dropCachedResults deletes the cached results for which gone is true; gone may call the store.
func (n *Node) dropCachedResults(ctx context.Context, gone func(cachedResult) bool) error {
	type entry struct {
		task   cid.Cid
		result cachedResult
	}
	var all []entry
	if err := n.eachCachedResult(ctx, func(task cid.Cid, m cachedResult) { all = append(all, entry{task, m}) }); err != nil {
		return err
	}
	var b store.Batch
	for _, e := range all {
		if gone(e.result) {
			b.Records = append(b.Records, store.Record{Name: cacheKey(e.task), Delete: true})
		}
	}
	return n.store.Commit(ctx, b)
}

// dropOrphans removes the records that refer to blocks that a collection has removed.
func (n *Node) dropOrphans(ctx context.Context) error {
	here := func(c cid.Cid) bool {
		has, err := n.store.Has(ctx, c)
		return has || err != nil
	}
	if err := n.dropCachedResults(ctx, func(m cachedResult) bool { return !here(m.Outcome) || !here(m.Receipt) }); err != nil {
		return err
	}
	if err := n.dropFuel(ctx, here); err != nil {
		return err
	}
	all, err := n.receipts(ctx, "")
	if err != nil {
		return err
	}
	var b store.Batch
	for _, r := range all {
		if !here(r.CID) {
			b.Records = append(b.Records,
				store.Record{Name: receiptPrefix + r.CID.String(), Delete: true},
				store.Record{Name: receiptsOf(r.Task) + r.CID.String(), Delete: true})
		}
	}
	return n.store.Commit(ctx, b)
}
