//go:build !windows

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ipld/go-ipld-prime/datamodel"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// report is a job as JSON: the one object of run --json, a line of job ls --json.
type report struct {
	Job     string            `json:"job"`
	State   string            `json:"state"` // of the outcome; without one "running" or "failed"
	Code    int               `json:"code"`  // of the outcome
	Task    string            `json:"task"`
	Outcome string            `json:"outcome,omitempty"`
	Output  string            `json:"output,omitempty"` // CID of the output
	Fuel    uint64            `json:"fuel"`
	Receipt string            `json:"receipt,omitempty"` // CID of the signed receipt
	Cached  bool              `json:"cached"`            // the result was in the cache: nothing ran
	Fault   string            `json:"fault,omitempty"`
	Error   *api.Error        `json:"error,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Created time.Time         `json:"created"`
	Ended   time.Time         `json:"ended,omitzero"`
	Read    *readReport       `json:"read,omitempty"` // of its inputs; nil: another peer ran it
	Refs    []string          `json:"refs,omitempty"` // parts of inputs that the output links to
	Compile time.Duration     `json:"compile_ns"`
	Run     time.Duration     `json:"run_ns"`
	// The blocks themselves as DAG-JSON, where they are known.
	TaskObject    json.RawMessage `json:"task_object,omitempty"`
	OutcomeObject json.RawMessage `json:"outcome_object,omitempty"`

	Where      string          `json:"where,omitempty"`  // DID of the peer that ran it
	Remote     bool            `json:"remote,omitempty"` // Where is another peer
	Attempts   int             `json:"attempts,omitempty"`
	Fetched    *readReport     `json:"fetched,omitempty"` // from other peers
	Runs       []api.RunResult `json:"runs,omitempty"`
	Mismatches []api.Mismatch  `json:"mismatches,omitempty"` // peers whose printed output differs from the outcome
	Placement  *api.Placement  `json:"placement,omitempty"`  // every bid and refusal (job describe)
	Events     []api.Event     `json:"events,omitempty"`     // (job describe)
}

// taskReport is what run --dry-run prints.
type taskReport struct {
	Task       string          `json:"task"`
	TaskObject json.RawMessage `json:"task_object"`
}

// readReport is how much of its inputs a run has read.
type readReport struct {
	Blocks int    `json:"blocks"`
	Bytes  int64  `json:"bytes"`
	Of     *total `json:"of,omitempty"`
}

// total is the size of the inputs.
type total struct {
	Blocks   int64 `json:"blocks"`
	Bytes    int64 `json:"bytes"`
	Complete bool  `json:"complete"` // false: the numbers are lower bounds
}

func reportOf(j api.Job) (report, error) {
	r := report{
		Job: j.ID, State: j.State, Task: j.Task.String(), Fault: j.Fault, Error: j.Err, Labels: j.Labels,
		Created: j.Created.UTC(), Ended: j.Ended.UTC(),
		Compile: j.Compile, Run: j.Run, Cached: j.Cached,
		Where: j.Where, Remote: j.Remote, Attempts: j.Attempts, Runs: j.Runs, Mismatches: j.Mismatches,
	}
	if !j.Remote {
		r.Read = &readReport{Blocks: j.Read.Blocks, Bytes: j.Read.Bytes}
	}
	if j.Fetched.Bytes > 0 {
		r.Fetched = &readReport{Blocks: j.Fetched.Blocks, Bytes: j.Fetched.Bytes}
	}
	for _, c := range j.Refs {
		r.Refs = append(r.Refs, c.String())
	}
	if j.Outcome == nil {
		return r, nil
	}
	r.State, r.Code, r.Output, r.Fuel = string(j.Outcome.State), j.Outcome.Code, j.Outcome.Root.String(), j.Outcome.Fuel
	r.Receipt = text(j.Receipt)
	value, err := j.Outcome.Node()
	if err != nil {
		return r, err
	}
	r.Outcome = j.OutcomeCID.String()
	r.OutcomeObject, err = dagJSON(value)
	return r, err
}

func dagJSON(value datamodel.Node) (json.RawMessage, error) {
	var b bytes.Buffer
	err := dag.WriteJSON(&b, value)
	return b.Bytes(), err
}

// taskJSON returns a task as DAG-JSON.
func taskJSON(t job.Task) (json.RawMessage, error) {
	value, err := t.Node()
	if err != nil {
		return nil, err
	}
	return dagJSON(value)
}

// countTime is how long the summary of a run waits at least for the size of its inputs. It waits longer after a
// long run: up to a tenth of its time.
const countTime = 50 * time.Millisecond

// inputTotal counts the blocks of the inputs of a task that ran for some time. Inputs that cannot be read are not
// counted.
func inputTotal(ctx context.Context, s *node.Session, t job.Task, ran time.Duration) total {
	ctx, cancel := context.WithTimeout(ctx, max(countTime, ran/10))
	defer cancel()
	sum := total{Complete: true}
	for _, root := range inputRoots(t) {
		extent, err := dag.Count(ctx, s.Blocks, root)
		sum.Blocks += extent.Blocks
		sum.Bytes += extent.Bytes
		sum.Complete = sum.Complete && extent.Exact && err == nil
	}
	return sum
}

// ended is the state of a job as a word: ok, exit:3, trap:1, quota:2, failed, running.
func ended(j api.Job) string {
	if j.Outcome == nil {
		return j.State
	}
	return ending(j.Outcome.State, j.Outcome.Code)
}

// ending is the state of an outcome as a word.
func ending(state job.State, code int) string {
	if code != 0 {
		return fmt.Sprintf("%s:%d", state, code)
	}
	return string(state)
}
