package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

// Bounds of the history.
const (
	maxJobs      = 10_000
	maxJobRecord = 32 << 20
)

// history keeps one file for each job, "<id>.json". It is for people: what a job made
// is kept by a pin, whether its record can be read or not.
type history struct {
	dir   string
	clock func() time.Time
	log   *slog.Logger
	ids   ids

	mu   sync.Mutex
	live map[string]bool // ids of this process's jobs that have not ended
}

func newHistory(dir string, clock func() time.Time, log *slog.Logger) *history {
	return &history{dir: dir, clock: clock, log: log, live: map[string]bool{}}
}

// record is the content of a job's file.
type record struct {
	Job     json.RawMessage `json:"job"` // as api.EncodeJob makes it
	Expires time.Time       `json:"expires,omitzero"`
}

// begin gives j an id and a record: from now on it is running.
func (h *history) begin(j *api.Job, expires time.Time) error {
	j.ID, j.State = h.ids.next(h.clock()), api.JobRunning
	h.mu.Lock()
	h.live[j.ID] = true
	h.mu.Unlock()
	if err := h.write(*j, expires); err != nil {
		h.forget(j.ID)
		return err
	}
	return nil
}

// end writes j's last record. Now and then it drops the oldest records.
func (h *history) end(j api.Job, expires time.Time) error {
	defer h.forget(j.ID)
	if strings.HasSuffix(j.ID, "0") { // of 32 jobs one
		h.prune()
	}
	return h.write(j, expires)
}

func (h *history) forget(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.live, id)
}

func (h *history) isLive(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.live[id]
}

func (h *history) path(id string) string { return filepath.Join(h.dir, id+".json") }

func (h *history) write(j api.Job, expires time.Time) error {
	b, err := api.EncodeJob(j)
	if err == nil {
		b, err = json.Marshal(record{b, expires})
	}
	if err != nil {
		return fmt.Errorf("record job %s: %w", j.ID, err)
	}
	temp := filepath.Join(h.dir, j.ID+".new")
	if err = os.WriteFile(temp, b, 0o600); err == nil {
		err = os.Rename(temp, h.path(j.ID))
	}
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("record job %s: %w", j.ID, err)
	}
	return nil
}

// errExpired says that a record's time is over.
var errExpired = errors.New("expired")

// read reads one record. A job that says that it is running and is not one of this
// process's was interrupted with the process that ran it.
func (h *history) read(id string) (api.Job, error) {
	live := h.isLive(id) // before the file is read: it may end meanwhile
	f, err := os.Open(h.path(id))
	if err != nil {
		return api.Job{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJobRecord+1))
	if err != nil {
		return api.Job{}, err
	}
	if len(b) > maxJobRecord {
		return api.Job{}, fmt.Errorf("more than %d bytes", maxJobRecord)
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return api.Job{}, err
	}
	if !r.Expires.IsZero() && !h.clock().Before(r.Expires) && !live {
		return api.Job{}, errExpired
	}
	j, err := api.DecodeJob(r.Job)
	if err != nil {
		return api.Job{}, err
	}
	if j.ID != id {
		return api.Job{}, fmt.Errorf("it is the record of job %q", j.ID)
	}
	if j.State == api.JobRunning && !live {
		j.State = api.JobFailed
		j.Err = &api.Error{Code: api.CodeInterrupted, Message: "interrupted: the process that ran it ended", Hint: "run it again"}
	}
	return j, nil
}

// names returns the ids that have records, newest first.
func (h *history) names() (ids []string, temps []string, err error) {
	d, err := os.Open(h.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("read job history: %w", err)
	}
	defer d.Close()
	all, err := d.Readdirnames(-1)
	if err != nil {
		return nil, nil, fmt.Errorf("read job history: %w", err)
	}
	for _, name := range all {
		if id, ok := strings.CutSuffix(name, ".json"); ok && isID(id) {
			ids = append(ids, id)
		} else if id, ok := strings.CutSuffix(name, ".new"); ok && isID(id) {
			temps = append(temps, id)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, temps, nil
}

// prune drops what is beyond maxJobs and what killed processes left half written.
func (h *history) prune() ([]string, error) {
	ids, temps, err := h.names()
	if err != nil {
		return nil, err
	}
	for _, id := range temps {
		if !h.isLive(id) {
			os.Remove(filepath.Join(h.dir, id+".new"))
		}
	}
	for len(ids) > maxJobs {
		last := ids[len(ids)-1]
		if !h.isLive(last) {
			os.Remove(h.path(last)) // in a read-only repo they stay
		}
		ids = ids[:len(ids)-1]
	}
	return ids, nil
}

// list returns the jobs, newest first, and drops the expired ones.
func (h *history) list(ctx context.Context) ([]api.Job, error) {
	ids, err := h.prune()
	if err != nil {
		return nil, err
	}
	jobs := make([]api.Job, 0, len(ids))
	for _, id := range ids {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		j, err := h.read(id)
		switch {
		case err == nil:
			jobs = append(jobs, j)
		case errors.Is(err, errExpired):
			os.Remove(h.path(id))
		case !errors.Is(err, fs.ErrNotExist):
			h.log.Warn("a job's record cannot be read", "file", h.path(id), "error", err)
		}
	}
	return jobs, nil
}

// find returns the one job whose id begins with prefix, "j-" being understood.
func (h *history) find(prefix string) (api.Job, error) {
	if !strings.HasPrefix(prefix, idPrefix) {
		prefix = idPrefix + prefix
	}
	if !isIDPrefix(prefix) || prefix == idPrefix {
		return api.Job{}, api.Errorf(api.CodeUsage, "%q is not the beginning of a job's id", prefix)
	}
	ids, _, err := h.names()
	if err != nil {
		return api.Job{}, err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, prefix) })
	if len(ids) > 1 {
		return api.Job{}, &api.Error{
			Code: api.CodeUsage, Message: fmt.Sprintf("%d jobs begin with %s", len(ids), prefix),
			Hint: fmt.Sprintf("give more of it, as in %s or %s", ids[0], ids[1]),
		}
	}
	if len(ids) == 0 {
		return api.Job{}, noJob(prefix)
	}
	j, err := h.read(ids[0])
	if errors.Is(err, errExpired) || errors.Is(err, fs.ErrNotExist) {
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
