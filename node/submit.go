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

// A submitted job is recorded as "s/" and its id until it ends, with all that is needed
// to go on with it: whatever happens to the process, the job ends once.
const submissionPrefix = "s/"

// maxSubmitted is how many submitted jobs may wait and run at once.
const maxSubmitted = 10_000

// submission is the record of a submitted job that has not ended.
type submission struct {
	Task    []byte      `json:"task"` // its bytes
	Request api.Request `json:"request"`
	Created time.Time   `json:"created"`
	Expires time.Time   `json:"expires,omitzero"`
	request.Checkpoint
}

// submission returns x's record as it is now. x.mu is held.
func (x *running) submission() (store.Record, error) {
	s := submission{Task: x.task.Data(), Request: x.request, Created: x.job.Created, Expires: x.expires, Checkpoint: x.left}
	s.Request.Task = job.Task{}
	b, err := json.Marshal(s)
	if err != nil {
		return store.Record{}, fmt.Errorf("record job %s: %w", x.id, err)
	}
	return store.Record{Name: submissionPrefix + x.id, Value: b}, nil
}

// Submit implements api.Jobs. What the Task names is kept from collection from here on,
// whether the client stays or not.
func (v *View) Submit(ctx context.Context, r api.Request) (api.Job, error) {
	n := v.node
	s := n.serving.Load()
	if s == nil && n.stays.Load() {
		if err := n.room(); err != nil { // which its network waits for
			return api.Job{}, apiError(ctx, err)
		}
	}
	if s == nil {
		return api.Job{}, &api.Error{
			Code: api.CodeUsage, Message: "a job that goes on without its client needs a process that stays",
			Hint: "start one with `liftoff serve`",
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
	return x.look(), nil
}

// admit records a submitted job and begins it, or dismisses it.
func (n *Node) admit(ctx context.Context, s *service, x *running) error {
	err := x.session.Protect(ctx, protected(x.request)...)
	if err == nil {
		err = n.keepSubmitted(ctx, x)
	}
	if err == nil && !s.begin(func(life context.Context) { n.carry(life, x) }) { //nolint:errcheck // it is in the record
		err = &api.Error{Code: api.CodeClosing, Message: "the process takes no more jobs", Hint: "submit it again later"}
	}
	if err != nil {
		return errors.Join(err, n.dismiss(x))
	}
	return nil
}

// dismiss undoes what was done for a job that is not taken.
func (n *Node) dismiss(x *running) error {
	x.mu.Lock()
	x.over = true // from here on nothing is recorded
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

// keepSubmitted writes down a submitted job, and pins all that it needs under the name
// under which its result will be kept.
func (n *Node) keepSubmitted(ctx context.Context, x *running) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	r, err := x.submission()
	if err != nil {
		return err
	}
	return n.history.write(ctx, x, store.Batch{Pins: []store.Pin{x.pin()}, Records: []store.Record{r}})
}

// pin keeps all that a submitted job needs, what runs of it that have ended came to, and
// what peers have signed who printed something else. x.mu is held.
func (x *running) pin() store.Pin {
	p := store.Pin{Name: jobPin(x.id), Created: x.job.Created, Opaque: true}
	keep := func(isRecursive bool, roots ...cid.Cid) {
		for _, c := range roots {
			p.Roots = append(p.Roots, store.Root{CID: c, Recursive: isRecursive})
		}
	}
	keep(true, protected(x.request)...)
	for _, r := range x.left.Results {
		keep(false, r.Outcome, r.Receipt)
		keep(true, outputs(r.Value)...)
	}
	signed, _ := evidence(x.job.Mismatches)
	keep(false, signed...)
	return p
}

// jobPin is the name of the pin under which a job keeps what belongs to it.
func jobPin(id string) string { return "job:" + id }

// takeUp makes the submitted jobs of a process that has ended this one's: from here on
// they run, for all who look. The caller gives them to resume, or drops them.
func (n *Node) takeUp(ctx context.Context) (all []*running, err error) {
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
		x, err := n.revive(ctx, e.id, e.b)
		if err != nil {
			n.log.Warn("a submitted job cannot be taken up", "job", e.id, "err", err)
			continue
		}
		all = append(all, x)
	}
	return all, nil
}

// resume goes on with what takeUp returned.
func (n *Node) resume(s *service, all []*running) {
	for i, x := range all {
		x.event(api.Event{Kind: api.EventNote, Text: "taken up again: the process that had it ended"})
		if !s.begin(func(life context.Context) { n.carry(life, x) }) { //nolint:errcheck // it is in the record
			n.drop(all[i : i+1])
		}
	}
}

// drop leaves jobs that were taken up and not begun to the next process.
func (n *Node) drop(all []*running) {
	for _, x := range all {
		n.history.end(x.id)
		x.session.End()
	}
}

// revive makes the job that a record is about.
func (n *Node) revive(ctx context.Context, id string, b []byte) (*running, error) {
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
		clock: n.clock, spool: n.newSpool(s.Request), job: j, left: s.Checkpoint,
	}
	if x.task, err = check(s.Request); err == nil {
		x.job.Task = x.task.CID()
		err = x.session.Protect(ctx, protected(s.Request)...)
	}
	if err != nil {
		x.session.End()
		return nil, err
	}
	n.history.adopt(x)
	return x, nil
}

// newSpool returns a place for what the guest of a request prints. The two streams may show
// text of two runs, each of which may print as much as the job to one of them.
func (n *Node) newSpool(r api.Request) *spool.Spool {
	return &spool.Spool{Create: n.unnamed, Max: 2 * min(maxLog(r.Limits), math.MaxInt64/2)}
}

// noteLeft writes down what another process would need to go on with a submitted job.
func (n *Node) noteLeft(x *running, l request.Checkpoint) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	lies := len(x.job.Mismatches)
	hasMore := len(l.Results) > len(x.left.Results) || lies > x.pinned
	x.left = l
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
		x.pinned = lies
	}
	return err
}
