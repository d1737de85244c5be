//go:build !windows

package main

import (
	"slices"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// leastJobID is how much of a job's id a terminal shows at least: "j-" and six characters.
const leastJobID = 8

// jobListing is that of job ls. It needs all jobs to know which beginnings of their ids are
// unambiguous.
func jobListing(jobs []api.Job) listing[api.Job] {
	ids := make([]string, len(jobs))
	for i, j := range jobs {
		ids[i] = j.ID
	}
	prefix := ui.Prefixes(ids, leastJobID)
	return listing[api.Job]{
		items:   "jobs",
		columns: []ui.Column{{Name: "JOB"}, {Name: "STATE"}, {Name: "CREATED"}, {Name: "OUTCOME", Give: 1}, {Name: "LABELS", Give: 2}},
		row: func(s *ui.Screen, j api.Job) []ui.Cell {
			outcome := ui.None()
			if j.OutcomeCID.Defined() {
				outcome = ui.ID(j.OutcomeCID.String())
			}
			return []ui.Cell{s.Prefix(j.ID, prefix(j.ID)), stateCell(j), s.Time(j.Created), outcome, ui.List(labelsOf(j.Labels))}
		},
		object: func(j api.Job) (any, error) { return reportOf(j) },
	}
}

// stateCell says how a job ended, in a colour for good, bad and undecided.
func stateCell(j api.Job) ui.Cell { return endingCell(ended(j)) }

func endingCell(state string) ui.Cell {
	switch state {
	case "":
		return ui.None()
	case "ok":
		return ui.Text(state).In(ui.Green)
	case api.JobRunning:
		return ui.Text(state).In(ui.Yellow)
	}
	if name := limitNames[state]; name != "" {
		return ui.Both(state, state+" ("+name+")").In(ui.Red)
	}
	return ui.Text(state).In(ui.Red)
}

// limitNames explains the states that name a limit by its number.
var limitNames = map[string]string{
	ending(job.Quota, job.QuotaPages): "memory limit",
	ending(job.Quota, job.QuotaOut):   "output limit",
	ending(job.Quota, job.QuotaTmp):   "/tmp limit",
	ending(job.Quota, job.QuotaLog):   "stdout and stderr limit",
}

// labelsOf returns labels as NAME=VALUE, in order.
func labelsOf(labels map[string]string) []string {
	var all []string
	for k, v := range labels {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return all
}

// eachListing is that of run --each, whose rows come while the runs go on.
func eachListing() listing[row] {
	return listing[row]{
		items:   "entries",
		columns: []ui.Column{{Name: "STATE", Min: len("out_of_fuel")}, {Name: "OUTCOME", Stream: true, Give: 2}, {Name: "OUTPUT", Stream: true, Give: 1}, {Name: "ENTRY", Give: 3}},
		row: func(_ *ui.Screen, r row) []ui.Cell {
			if r.err != nil {
				return []ui.Cell{endingCell(api.JobFailed), ui.None(), ui.None(), ui.Text(r.entry)}
			}
			return []ui.Cell{stateCell(r.job), ui.ID(r.job.OutcomeCID.String()), ui.ID(r.job.Outcome.Root.String()), ui.Text(r.entry)}
		},
		object: func(r row) (any, error) { return eachReportOf(r) },
	}
}

// eachReport is a line of run --each as JSON.
type eachReport struct {
	Entry string `json:"entry"`
	report
}

func eachReportOf(r row) (line eachReport, err error) {
	if r.job.ID != "" {
		if line.report, err = reportOf(r.job); err != nil {
			return line, err
		}
	}
	line.Entry = r.entry
	if r.err != nil {
		line.State, line.Error = api.JobFailed, api.AsError(r.err)
	}
	return line, nil
}
