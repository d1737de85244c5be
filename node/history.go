package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// Bounds of the history.
const (
	maxJobs = 10_000
	// pruneEvery is how many jobs may be too many before the oldest are dropped.
	pruneEvery = 512
	// recordAfter is how long a job runs before there is a record of it: one that ends
	// sooner is written once, and of one that is killed sooner nobody has heard.
	recordAfter = 10 * time.Millisecond
)

// history keeps one record for each job. It is for people: what a job made is kept by a
// pin, whether its record can be read or not.
type history struct {
	store *store.Store
	clock func() time.Time
	log   *slog.Logger
	ids   ids
	ended atomic.Uint64 // jobs

	mu   sync.Mutex
	live map[string]*running // of this process, that have not ended
}

func newHistory(s *store.Store, clock func() time.Time, log *slog.Logger) *history {
	return &history{store: s, clock: clock, log: log, live: map[string]*running{}}
}

// begin gives x an id: from now on it is running.
func (h *history) begin(x *running) {
	x.id = h.ids.next(h.clock())
	x.job.ID, x.job.State = x.id, api.JobRunning
	h.adopt(x)
}

// adopt lets x, which has an id, be one of this process's.
func (h *history) adopt(x *running) {
	x.timer = time.AfterFunc(recordAfter, func() { h.recordLive(x) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[x.id] = x
}

// recordLive writes the record of a job that runs, and again when it has more to tell.
func (h *history) recordLive(x *running) {
	x.mu.Lock() // until it is written: the last record must come later
	defer x.mu.Unlock()
	if x.over {
		return
	}
	if err := h.write(context.Background(), x, store.Batch{}); err != nil {
		h.log.Warn("a running job is not in the history", "job", x.id, "err", err)
	}
}

// write writes the record of a job that runs, and b. x.mu is held.
func (h *history) write(ctx context.Context, x *running, b store.Batch) error {
	r, err := jobRecord(x.job, x.expires)
	if err != nil {
		return err
	}
	b.Records = append(b.Records, r)
	return h.store.Commit(ctx, b)
}

// last returns what is to be recorded of j in the end, for the caller to write before he
// calls end.
func (h *history) last(j api.Job, expires time.Time) ([]store.Record, error) {
	r, err := jobRecord(j, expires)
	records := []store.Record{r}
	if x := h.running(j.ID); x != nil {
		x.mu.Lock()
		x.over = true
		x.mu.Unlock()
		x.timer.Stop()
		if x.submitted {
			records = append(records, store.Record{Name: submissionPrefix + x.id, Delete: true})
		}
	}
	return records, err
}

// running returns the job of that id if it is one of this process's and has not ended.
func (h *history) running(id string) *running {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.live[id]
}

// end forgets that a job runs. Now and then it drops the oldest records.
func (h *history) end(id string) {
	h.mu.Lock()
	if x := h.live[id]; x != nil {
		x.timer.Stop()
	}
	delete(h.live, id)
	h.mu.Unlock()
	if h.ended.Add(1)%pruneEvery == 0 {
		if _, err := h.names(context.Background(), ""); err != nil {
			h.log.Warn("old jobs are not dropped", "err", err)
		}
	}
}

// liveJobs returns those that run whose ids begin with prefix.
func (h *history) liveJobs(prefix string) map[string]*running {
	h.mu.Lock()
	defer h.mu.Unlock()
	jobs := map[string]*running{}
	for id, x := range h.live {
		if strings.HasPrefix(id, prefix) {
			jobs[id] = x
		}
	}
	return jobs
}

// A job's record is named "j/" and the characters of its id, each as far from the end of
// the alphabet as the id's is from its beginning: so the newest come first. It is eight
// bytes, when it expires in milliseconds since 1970 or 0, and what api.EncodeJob makes.
const jobPrefix = "j/"

func jobName(id string) string {
	return jobPrefix + mirror(strings.TrimPrefix(id, idPrefix))
}

func jobID(name string) string { return idPrefix + mirror(strings.TrimPrefix(name, jobPrefix)) }

// mirror is its own inverse.
func mirror(chars string) string {
	return strings.Map(func(r rune) rune {
		return rune(idAlphabet[len(idAlphabet)-1-strings.IndexRune(idAlphabet, r)])
	}, chars)
}

func jobRecord(j api.Job, expires time.Time) (store.Record, error) {
	b, err := api.EncodeJob(j)
	if err != nil {
		return store.Record{}, fmt.Errorf("record job %s: %w", j.ID, err)
	}
	var ms uint64
	if !expires.IsZero() {
		ms = uint64(expires.UnixMilli())
	}
	return store.Record{Name: jobName(j.ID), Value: append(binary.BigEndian.AppendUint64(nil, ms), b...)}, nil
}

// errExpired says that a record's time is over.
var errExpired = errors.New("expired")

// read reads one record. A job that says that it is running and is not one of this
// process's was interrupted with the process that ran it.
func (h *history) read(id string, live map[string]*running) (api.Job, error) {
	if x, ok := live[id]; ok {
		return x.look(), nil // as it is now, or was when it had just ended
	}
	j, err := h.recorded(id)
	if err == nil && j.State == api.JobRunning {
		_, submitted, serr := h.store.Lookup(submissionPrefix + id)
		if serr != nil {
			return api.Job{}, serr
		}
		interrupted(&j, submitted)
	}
	return j, err
}

// recorded returns what the record says.
func (h *history) recorded(id string) (api.Job, error) {
	b, found, err := h.store.Lookup(jobName(id))
	if err != nil {
		return api.Job{}, err
	}
	if !found {
		return api.Job{}, errExpired // dropped meanwhile
	}
	if len(b) < 8 {
		return api.Job{}, fmt.Errorf("it has %d bytes", len(b))
	}
	if ms := binary.BigEndian.Uint64(b); ms != 0 && h.clock().UnixMilli() >= int64(ms) {
		return api.Job{}, errExpired
	}
	j, err := api.DecodeJob(b[8:])
	if err != nil {
		return api.Job{}, err
	}
	if j.ID != id {
		return api.Job{}, fmt.Errorf("it is the record of job %q", j.ID)
	}
	return j, nil
}

// interrupted is what becomes of a job whose process has died. One that was submitted is
// taken up by the next process that stays.
func interrupted(j *api.Job, submitted bool) {
	j.State = api.JobFailed
	j.Err = &api.Error{Code: api.CodeInterrupted, Message: "interrupted: the process that ran it ended", Hint: "run it again"}
	if submitted {
		j.Err.Hint = "`liftoff serve` goes on with it"
	}
	last := api.Event{Kind: api.EventFailed, Text: j.Err.Message, At: j.Created, Fields: map[string]string{"code": string(j.Err.Code)}}
	if n := len(j.Events); n > 0 {
		last.Seq, last.At = j.Events[n-1].Seq+1, j.Events[n-1].At
	}
	j.Events = append(j.Events, last)
}

// names returns the ids that begin with prefix and have a record, newest first. It drops
// what is beyond maxJobs.
func (h *history) names(ctx context.Context, prefix string) ([]string, error) {
	var all []string
	err := h.store.Records(ctx, jobName(prefix), func(name string, _ func() ([]byte, error)) error {
		if chars := strings.TrimPrefix(name, jobPrefix); strings.Trim(chars, idAlphabet) == "" && isID(jobID(name)) {
			all = append(all, jobID(name))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read job history: %w", err)
	}
	if prefix == "" && len(all) > maxJobs {
		if err := h.drop(all[maxJobs:]); err != nil {
			return nil, err
		}
		all = all[:maxJobs]
	}
	return all, nil
}

// drop removes records; in a read-only repo they stay, and on a full disk until there is room.
func (h *history) drop(ids []string) error {
	if len(ids) == 0 || h.store.ReadOnly() {
		return nil
	}
	var b store.Batch
	for _, id := range ids {
		b.Records = append(b.Records, store.Record{Name: jobName(id), Delete: true})
	}
	err := h.store.Commit(context.Background(), b)
	if diskfs.Full(err) {
		err = nil
	}
	return err
}

// list returns the jobs, newest first, and drops the expired ones.
func (h *history) list(ctx context.Context) ([]api.Job, error) {
	live := h.liveJobs("") // before the records are read: they may end meanwhile
	ids, err := h.names(ctx, "")
	if err != nil {
		return nil, err
	}
	jobs := make([]api.Job, 0, len(ids))
	var expired []string
	for _, id := range withLive(ids, live) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		j, err := h.read(id, live)
		switch {
		case err == nil:
			jobs = append(jobs, j)
		case errors.Is(err, errExpired):
			expired = append(expired, id)
		default:
			h.log.Warn("a job's record cannot be read", "job", id, "err", err)
		}
	}
	return jobs, h.drop(expired)
}

// withLive adds the ids of jobs that have no record yet.
func withLive(ids []string, live map[string]*running) []string {
	for id := range live {
		if !slices.Contains(ids[:min(len(ids), 4*len(live)+64)], id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return slices.Compact(ids)
}

// find returns the one job whose id begins with prefix, "j-" being understood.
func (h *history) find(ctx context.Context, prefix string) (api.Job, error) {
	if !strings.HasPrefix(prefix, idPrefix) {
		prefix = idPrefix + prefix
	}
	if !isIDPrefix(prefix) || prefix == idPrefix {
		return api.Job{}, api.Errorf(api.CodeUsage, "%q is not the beginning of a job's id", prefix)
	}
	live := h.liveJobs(prefix)
	ids, err := h.names(ctx, prefix)
	if err != nil {
		return api.Job{}, err
	}
	ids = withLive(ids, live)
	if len(ids) > 1 {
		return api.Job{}, &api.Error{
			Code: api.CodeUsage, Message: fmt.Sprintf("%d jobs begin with %s", len(ids), prefix),
			Hint: fmt.Sprintf("give more of it, as in %s or %s", ids[0], ids[1]),
		}
	}
	if len(ids) == 0 {
		return api.Job{}, noJob(prefix)
	}
	j, err := h.read(ids[0], live)
	if errors.Is(err, errExpired) {
		return api.Job{}, noJob(prefix)
	}
	if err != nil {
		return api.Job{}, fmt.Errorf("read the record of job %s: %w", ids[0], err)
	}
	return j, nil
}

func noJob(prefix string) error {
	return &api.Error{
		Code: api.CodeMissing, Message: fmt.Sprintf("no job begins with %s", prefix),
		Hint: "`liftoff job ls` shows those that there are",
	}
}
