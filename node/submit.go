package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/request"
	"github.com/ipfs-liftoff/liftoff/node/spool"
)

// A submitted job is recorded as "s/" and its id until it ends, with everything needed to resume it: the job
// ends exactly once, whatever happens to the process.
const submissionPrefix = "s/"

// maxSubmitted is how many submitted jobs may be waiting or running at once.
const maxSubmitted = 10_000

// submission is the record of a submitted job that has not ended.
type submission struct {
	Task    []byte      `json:"task"` // the encoded Task
	Request api.Request `json:"request"`
	Created time.Time   `json:"created"`
	Expires time.Time   `json:"expires,omitzero"`
	request.Checkpoint
}

// submission returns x's record in its current state. x.mu is held.
func (x *running) submission() (store.Record, error) {
	s := submission{Task: x.task.Data(), Request: x.request, Created: x.job.Created, Expires: x.expires, Checkpoint: x.checkpoint}
	s.Request.Task = job.Task{}
	b, err := json.Marshal(s)
	if err != nil {
		return store.Record{}, fmt.Errorf("encode record of submitted job %s: %w", x.id, err)
	}
	return store.Record{Name: submissionPrefix + x.id, Value: b}, nil
}

// Submit implements api.Jobs. Everything that the Task names is kept from collection from here on, whether or
// not the client stays connected.
func (v *View) Submit(ctx context.Context, r api.Request) (api.Job, error) {
	n := v.node
	s := n.serving.Load()
	if s == nil && n.isServing.Load() {
		if err := n.room(); err != nil { // the network is not opened while the disk is full
			return api.Job{}, apiError(ctx, err)
		}
	}
	if s == nil {
		return api.Job{}, &api.Error{
			Code: api.CodeConflict, Message: "no `liftoff serve` is running on this repo: a detached job needs one",
			Hint: "start `liftoff serve`, or run the job without --detach",
		}
	}
	x, err := n.accept(ctx, r, api.Watch{})
	if err != nil {
		return api.Job{}, err
	}
	x.submitted = true
	if err := n.admit(ctx, s, x); err != nil {
		return api.Job{}, apiError(ctx, err)
	}
	return x.snapshot(), nil
}

// admit records a submitted job and starts it, or dismisses it.
func (n *Node) admit(ctx context.Context, s *service, x *running) error {
	err := x.session.Protect(ctx, protected(x.request)...)
	if err == nil {
		err = n.recordSubmitted(ctx, x)
	}
	if err == nil && !s.begin(func(life context.Context) { n.runJob(life, x) }) { //nolint:errcheck // the record has it
		err = &api.Error{Code: api.CodeClosing, Message: "node is shutting down or has too many jobs", Hint: "submit the job again later"}
	}
	if err != nil {
		return errors.Join(err, n.dismiss(x))
	}
	return nil
}

// dismiss removes everything recorded for a job that was not accepted.
func (n *Node) dismiss(x *running) error {
	x.mu.Lock()
	x.over = true // no record is written from here on
	x.mu.Unlock()
	n.history.end(x.id)
	x.session.End()
	err := n.store.Commit(context.Background(), store.Batch{Records: []store.Record{
		{Name: submissionPrefix + x.id, Delete: true}, {Name: jobName(x.id), Delete: true},
	}})
	var none *store.PinNotFoundError
	if perr := n.store.RemovePin(jobPin(x.id)); !errors.As(perr, &none) {
		err = errors.Join(err, perr)
	}
	return err
}

// recordSubmitted records a submitted job. It pins everything that the job needs under the name that will keep
// its result.
func (n *Node) recordSubmitted(ctx context.Context, x *running) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	r, err := x.submission()
	if err != nil {
		return err
	}
	return n.history.write(ctx, x, store.Batch{Pins: []store.Pin{x.pin()}, Records: []store.Record{r}})
}

// pin keeps everything that a submitted job needs, the results of its runs that have ended, and the signed
// outcomes and receipts of peers whose printed output did not match. x.mu is held.
func (x *running) pin() store.Pin {
	p := store.Pin{Name: jobPin(x.id), Created: x.job.Created, Opaque: true}
	keep := func(isRecursive bool, roots ...cid.Cid) {
		for _, c := range roots {
			p.Roots = append(p.Roots, store.Root{CID: c, Recursive: isRecursive})
		}
	}
	keep(true, protected(x.request)...)
	for _, r := range x.checkpoint.Results {
		keep(false, r.Outcome, r.Receipt)
		keep(true, outputs(r.Value)...)
	}
	signed, _ := evidence(x.job.Mismatches)
	keep(false, signed...)
	return p
}

// jobPin is the name of the pin that keeps a job's data.
func jobPin(id string) string { return "job:" + id }

// loadSubmitted loads the submitted jobs of a process that has ended. They count as running from here on. The
// caller passes them to resume or drop.
func (n *Node) loadSubmitted(ctx context.Context) (all []*running, err error) {
	type entry struct {
		id string
		b  []byte
	}
	var entries []entry
	err = n.store.Records(ctx, submissionPrefix, func(name string, value func() ([]byte, error)) error {
		b, err := value()
		if b != nil {
			entries = append(entries, entry{name[len(submissionPrefix):], b})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read submitted jobs: %w", err)
	}
	for _, e := range entries {
		x, err := n.restoreJob(ctx, e.id, e.b)
		if err != nil {
			n.log.Warn("load submitted job", "job", e.id, "err", err)
			continue
		}
		all = append(all, x)
	}
	return all, nil
}

// resume runs the jobs that loadSubmitted returned.
func (n *Node) resume(s *service, all []*running) {
	for i, x := range all {
		x.event(api.Event{Kind: api.EventNote, Text: "job resumed: the process that ran it ended"})
		if !s.begin(func(life context.Context) { n.runJob(life, x) }) { //nolint:errcheck // the record has it
			n.drop(all[i : i+1])
		}
	}
}

// drop leaves jobs that were loaded and not started to the next process.
func (n *Node) drop(all []*running) {
	for _, x := range all {
		n.history.end(x.id)
		x.session.End()
	}
}

// restoreJob creates the job that a record describes.
func (n *Node) restoreJob(ctx context.Context, id string, b []byte) (*running, error) {
	var s submission
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	t, err := job.DecodeTask(s.Task)
	if err != nil {
		return nil, err
	}
	self, err := n.self.identity()
	if err != nil {
		return nil, err
	}
	s.Request.Task = t
	j := api.Job{ID: id, State: api.JobRunning, Created: s.Created, Labels: s.Request.Labels}
	if old, err := n.history.recorded(id); err == nil {
		j.Events, j.Attempts, j.Mismatches = old.Events, old.Attempts, old.Mismatches
	}
	x := &running{
		id: id, request: s.Request, self: self, session: n.store.Begin(), submitted: true, expires: s.Expires,
		clock: n.clock, spool: n.newSpool(s.Request), job: j, checkpoint: s.Checkpoint,
	}
	if x.task, err = check(s.Request); err == nil {
		x.job.Task = x.task.CID()
		err = x.session.Protect(ctx, protected(s.Request)...)
	}
	if err != nil {
		x.session.End()
		return nil, err
	}
	n.history.register(x)
	return x, nil
}

// newSpool returns a spool for the output of a request's guest. Each of the two streams may show text of two
// runs, and each run may print as much as the job's log limit to one stream.
func (n *Node) newSpool(r api.Request) *spool.Spool {
	return &spool.Spool{Create: n.unnamed, Max: 2 * min(maxLog(r.Limits), math.MaxInt64/2)}
}

// saveCheckpoint records what another process needs to resume a submitted job.
func (n *Node) saveCheckpoint(x *running, l request.Checkpoint) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	mismatches := len(x.job.Mismatches)
	hasMore := len(l.Results) > len(x.checkpoint.Results) || mismatches > x.pinned
	x.checkpoint = l
	if !x.submitted || x.over {
		return nil
	}
	r, err := x.submission()
	if err != nil {
		return err
	}
	b := store.Batch{Records: []store.Record{r}}
	if hasMore {
		b.Pins = []store.Pin{x.pin()}
	}
	err = n.history.write(context.Background(), x, b)
	if err == nil {
		x.pinned = mismatches
	}
	return err
}
