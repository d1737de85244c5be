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
	// pruneEvery is how far the history may exceed maxJobs before the oldest jobs are dropped.
	pruneEvery = 512
	// recordAfter is how long a job runs before it gets a record: a job that ends sooner is written once, and a
	// job that is killed sooner has not been shown to any client.
	recordAfter = 10 * time.Millisecond
)

// history keeps one record per job, for display. The data of a job is kept by a pin, whether or not its record
// can be read.
type history struct {
	store *store.Store
	clock func() time.Time
	log   *slog.Logger
	ids   ids
	ended atomic.Uint64 // number of jobs

	mu   sync.Mutex
	live map[string]*running // jobs of this process that have not ended
}

func newHistory(s *store.Store, clock func() time.Time, log *slog.Logger) *history {
	return &history{store: s, clock: clock, log: log, live: map[string]*running{}}
}

// begin gives x an id and registers it as running.
func (h *history) begin(x *running) {
	x.id = h.ids.next(h.clock())
	x.job.ID, x.job.State = x.id, api.JobRunning
	h.register(x)
}

// register adds x, which has an id, to the running jobs of this process.
func (h *history) register(x *running) {
	x.timer = time.AfterFunc(recordAfter, func() { h.recordLive(x) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[x.id] = x
}

// recordLive writes the first record of a running job.
func (h *history) recordLive(x *running) {
	x.mu.Lock() // held until the record is written: the last record must come later
	defer x.mu.Unlock()
	if x.over {
		return
	}
	if err := h.write(context.Background(), x, store.Batch{}); err != nil {
		h.log.Warn("record running job", "job", x.id, "err", err)
	}
}

// write commits the record of a running job together with b. x.mu is held.
func (h *history) write(ctx context.Context, x *running, b store.Batch) error {
	r, err := jobRecord(x.job, x.expires)
	if err != nil {
		return err
	}
	b.Records = append(b.Records, r)
	return h.store.Commit(ctx, b)
}

// last returns the final records of j. The caller writes them before it calls end.
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

// running returns the job with that id if it belongs to this process and has not ended; else nil.
func (h *history) running(id string) *running {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.live[id]
}

// end removes a job from the running ones. Every pruneEvery jobs it drops the oldest records.
func (h *history) end(id string) {
	h.mu.Lock()
	if x := h.live[id]; x != nil {
		x.timer.Stop()
	}
	delete(h.live, id)
	h.mu.Unlock()
	if h.ended.Add(1)%pruneEvery == 0 {
		if _, err := h.names(context.Background(), ""); err != nil {
			h.log.Warn("delete old job records", "err", err)
		}
	}
}

// liveJobs returns the running jobs whose ids begin with prefix.
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

// A job's record is named "j/" plus the mirrored characters of its id: each is as far from the end of the
// alphabet as the id's is from its start, so that the newest record comes first. The value is eight bytes, the
// expiry in milliseconds since 1970 or 0, followed by the encoding of api.EncodeJob.
const jobPrefix = "j/"

func jobName(id string) string {
	return jobPrefix + mirror(strings.TrimPrefix(id, idPrefix))
}

func jobID(name string) string { return idPrefix + mirror(strings.TrimPrefix(name, jobPrefix)) }

// mirror mirrors each character in the alphabet. It is its own inverse.
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

// errExpired is the error for an expired or deleted record.
var errExpired = errors.New("job record is expired or deleted")

// read reads one record. A job that is recorded as running, but is not running in this process, was interrupted
// when its process ended.
func (h *history) read(id string, live map[string]*running) (api.Job, error) {
	if x, ok := live[id]; ok {
		return x.snapshot(), nil // its current state, or the last one if it has just ended
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

// recorded returns the job as its record has it.
func (h *history) recorded(id string) (api.Job, error) {
	b, found, err := h.store.Lookup(jobName(id))
	if err != nil {
		return api.Job{}, err
	}
	if !found {
		return api.Job{}, errExpired // dropped since it was listed
	}
	if len(b) < 8 {
		return api.Job{}, fmt.Errorf("record of job %s: got %d bytes, want at least 8", id, len(b))
	}
	if ms := binary.BigEndian.Uint64(b); ms != 0 && h.clock().UnixMilli() >= int64(ms) {
		return api.Job{}, errExpired
	}
	j, err := api.DecodeJob(b[8:])
	if err != nil {
		return api.Job{}, err
	}
	if j.ID != id {
		return api.Job{}, fmt.Errorf("record of job: got job %q, want %q", j.ID, id)
	}
	return j, nil
}

// interrupted marks j as failed, because its process has ended. The next `liftoff serve` resumes j if it was
// submitted.
func interrupted(j *api.Job, submitted bool) {
	j.State = api.JobFailed
	j.Err = &api.Error{Code: api.CodeInterrupted, Message: "interrupted: the process that ran it ended", Hint: "run it again"}
	if submitted {
		j.Err.Hint = "`liftoff serve` resumes it"
	}
	last := api.Event{Kind: api.EventFailed, Text: j.Err.Message, At: j.Created, Fields: map[string]string{"code": string(j.Err.Code)}}
	if n := len(j.Events); n > 0 {
		last.Seq, last.At = j.Events[n-1].Seq+1, j.Events[n-1].At
	}
	j.Events = append(j.Events, last)
}

// names returns the ids that begin with prefix and have a record, newest first. It drops the records beyond
// maxJobs.
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

// drop deletes records. In a read-only repo they stay; on a full disk they stay until there is space.
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
	live := h.liveJobs("") // before the records are read: a job may end in between
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
			h.log.Warn("read job record", "job", id, "err", err)
		}
	}
	return jobs, h.drop(expired)
}

// withLive adds the ids of running jobs that have no record yet.
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

// find returns the one job whose id begins with prefix; "j-" may be omitted.
func (h *history) find(ctx context.Context, prefix string) (api.Job, error) {
	if !strings.HasPrefix(prefix, idPrefix) {
		prefix = idPrefix + prefix
	}
	if !isIDPrefix(prefix) && len(prefix) <= len(idPrefix)+idChars && strings.Trim(prefix, "-"+lowerAlphanumeric) == "" {
		return api.Job{}, noJob(prefix) // a word that could be a name, but not of a job
	}
	if !isIDPrefix(prefix) || prefix == idPrefix {
		return api.Job{}, api.Errorf(api.CodeUsage, "%q is not a job id or a prefix of one", prefix)
	}
	live := h.liveJobs(prefix)
	ids, err := h.names(ctx, prefix)
	if err != nil {
		return api.Job{}, err
	}
	ids = withLive(ids, live)
	if len(ids) > 1 {
		return api.Job{}, &api.Error{
			Code: api.CodeUsage, Message: fmt.Sprintf("%d job ids begin with %s", len(ids), prefix),
			Hint: fmt.Sprintf("give a longer prefix, as in %s or %s", ids[0], ids[1]),
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

const lowerAlphanumeric = "0123456789abcdefghijklmnopqrstuvwxyz"

func noJob(prefix string) error {
	return &api.Error{
		Code: api.CodeMissing, Message: fmt.Sprintf("no job id begins with %s", prefix),
		Hint: "`liftoff job ls` lists the jobs",
	}
}
