package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// jobRecord is the JSON form of a Job. The Outcome is in it as the bytes that its CID names.
// The other fields replace those of Job with the same names: see link.
type jobRecord struct {
	Job
	Task         link      `json:"task"`
	OutcomeCID   link      `json:"outcome,omitzero"`
	Receipt      link      `json:"receipt,omitzero"`
	Refs         []link    `json:"refs,omitempty"`
	Stdout       link      `json:"stdout,omitzero"`
	Stderr       link      `json:"stderr,omitzero"`
	Created      time.Time `json:"created"`
	Ended        time.Time `json:"ended,omitzero"`
	OutcomeBytes []byte    `json:"outcome_bytes,omitempty"`
}

// EncodeJob returns the complete j as JSON, for the socket and for the job history.
func EncodeJob(j Job) ([]byte, error) {
	r := jobRecord{
		Job: j, Task: link(j.Task), OutcomeCID: link(j.OutcomeCID), Receipt: link(j.Receipt), Refs: linksOf(j.Refs),
		Stdout: link(j.Stdout), Stderr: link(j.Stderr), Created: j.Created.UTC(), Ended: j.Ended.UTC(),
	}
	if j.Outcome != nil {
		b, err := j.Outcome.Encode()
		if err != nil {
			return nil, fmt.Errorf("encode record of job %s: %w", j.ID, err)
		}
		r.OutcomeBytes = b
	}
	return json.Marshal(r)
}

// DecodeJob decodes what EncodeJob returned.
func DecodeJob(b []byte) (Job, error) {
	var r jobRecord
	if err := decodeJSON(b, &r); err != nil {
		return Job{}, fmt.Errorf("decode job record: %w", err)
	}
	j := r.Job
	j.Task, j.OutcomeCID, j.Receipt, j.Refs = cid.Cid(r.Task), cid.Cid(r.OutcomeCID), cid.Cid(r.Receipt), cidsOf(r.Refs)
	j.Stdout, j.Stderr, j.Created, j.Ended = cid.Cid(r.Stdout), cid.Cid(r.Stderr), r.Created, r.Ended
	if len(r.OutcomeBytes) > 0 {
		o, err := job.DecodeOutcome(r.OutcomeBytes)
		if err != nil {
			return Job{}, fmt.Errorf("decode record of job %s: %w", r.ID, err)
		}
		j.Outcome = &o
	}
	return j, nil
}

// requestRecord is the JSON form of a Request. The Task is in it as the bytes that its CID names.
type requestRecord struct {
	Task    []byte            `json:"task"`
	Limits  job.Limits        `json:"limits"`
	Timeout time.Duration     `json:"timeout_ns,omitempty"`
	Keep    time.Duration     `json:"keep_ns,omitempty"`
	Local   []link            `json:"local,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	NoCache bool              `json:"no_cache,omitempty"`
	Trusted bool              `json:"trusted,omitempty"`
	placed
	PrintAfterCheck bool    `json:"print_after_check,omitempty"`
	Watch           watched `json:"watch"`
}

// watched records which fields of a Watch the client has set.
type watched struct {
	Stdout   bool `json:"stdout,omitempty"`
	Stderr   bool `json:"stderr,omitempty"`
	Progress bool `json:"progress,omitempty"`
	Event    bool `json:"event,omitempty"`
}

func encodeRequest(r Request, w Watch) ([]byte, error) {
	task, err := r.Task.Encode()
	if err != nil {
		return nil, &Error{Code: CodeUsage, Message: err.Error()}
	}
	return json.Marshal(requestRecord{
		task, r.Limits, r.Timeout, r.Keep, linksOf(r.Local), r.Labels, r.NoCache, r.Trusted,
		placed{r.Where, r.Need, r.Prefer, r.Runs, r.Priority, r.Publish},
		r.PrintAfterCheck,
		watched{w.Stdout != nil, w.Stderr != nil, w.Progress != nil, w.Event != nil},
	})
}

func decodeRequest(b []byte) (Request, watched, error) {
	var r requestRecord
	if err := decodeJSON(b, &r); err != nil {
		return Request{}, watched{}, err
	}
	task, err := job.DecodeTask(r.Task)
	if err != nil {
		return Request{}, watched{}, &Error{Code: CodeUsage, Message: err.Error()}
	}
	return Request{
		task, r.Limits, r.Timeout, r.Keep, cidsOf(r.Local), r.Labels, r.NoCache, r.Trusted,
		r.Where, r.Need, r.Prefer, r.Runs, r.Priority, r.Publish, r.PrintAfterCheck,
	}, r.Watch, nil
}

// decodeJSON decodes exactly one JSON value. Unknown fields and trailing data are errors.
func decodeJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &Error{Code: CodeUsage, Message: "decode JSON: " + err.Error()}
	}
	if _, err := d.Token(); err != io.EOF {
		return &Error{Code: CodeUsage, Message: "decode JSON: trailing data after the value"}
	}
	return nil
}
