//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// runEach runs a task for each entry of a directory input: the same task, with the entry
// in place of the directory. It prints a line for each, in the order of the directory, as
// soon as it and all lines before it are done.
func (p *process) runEach(c *cli.Context, r prepared) error {
	if r.output != "" || r.car != "" {
		return hinted(usagef("--each excludes --output and --car"), "liftoff get OUTPUT -o DIR")
	}
	name := c.String("each")
	slot := slices.IndexFunc(r.request.Task.In, func(in job.Input) bool { return in.Name == name && name != "" })
	if slot < 0 {
		return usagef("--each %s: no input has this name", quote(name))
	}
	parallel := c.Uint("parallel")
	if parallel == 0 {
		parallel = places(c.Context, r)
	}
	d, err := dag.OpenDir(c.Context, r.session.Fetching(), r.request.Task.In[slot].CID)
	var notDir *dag.NotDirError
	switch {
	case err != nil && !errors.As(err, &notDir):
		return fmt.Errorf("--each %s: %w", quote(name), err)
	case err != nil:
		return hinted(usagef("--each %s: %s", quote(name), err), "liftoff stat %s", r.request.Task.In[slot].CID)
	}
	e := each{p: p, r: r, slot: slot, rows: make(chan (<-chan row), maxWaitingRows), places: make(chan struct{}, min(parallel, maxParallel)), table: newRows(p, c, eachListing())}
	return e.run(c.Context, d)
}

// places is the number of concurrent runs: one for each slot of the peers and for each
// processor of this machine.
func places(ctx context.Context, r prepared) uint {
	n := runtime.NumCPU()
	if r.request.Where == api.WhereLocal {
		return uint(n)
	}
	peers, err := r.session.Peers.Peers(ctx)
	if err != nil { // no network
		return uint(n)
	}
	for _, peer := range peers {
		if peer.Capacity != nil {
			n += peer.Capacity.Slots
		}
	}
	return uint(min(n, maxParallel))
}

// each runs the tasks of one directory, several at a time.
type each struct {
	p      *process
	r      prepared
	slot   int               // the input that is replaced
	rows   chan (<-chan row) // in the order of the directory
	places chan struct{}     // one element for each running task
	table  *rows[row]
}

// maxParallel bounds the concurrent runs of a command; the owner of the repo has its own limit.
const maxParallel = 1024

// maxWaitingRows bounds the rows that wait for an earlier one.
const maxWaitingRows = 1024

// row is a line of the table.
type row struct {
	entry string
	job   api.Job
	err   error
}

func (e each) run(ctx context.Context, d *dag.Dir) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listed := make(chan error, 1)
	go func() {
		defer close(e.rows)
		listed <- d.Each(ctx, func(entry dag.DirEntry) error { return e.start(ctx, entry) })
	}()
	worst, failed := 0, error(nil)
	for next := range e.rows {
		r := <-next
		if failed == nil {
			failed = e.print(r)
		}
		if failed != nil {
			cancel() // and wait for the running tasks
			continue
		}
		worst = worse(worst, codeOfRow(r))
	}
	if err := <-listed; err != nil && failed == nil {
		failed = err
	}
	if failed == nil && !e.r.quiet {
		failed = e.table.Flush()
	}
	if failed != nil {
		return failed
	}
	if worst != 0 {
		return exited(worst)
	}
	return nil
}

// start runs the task of one entry as soon as a place is free.
func (e each) start(ctx context.Context, entry dag.DirEntry) error {
	done := make(chan row, 1)
	select {
	case e.places <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case e.rows <- done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	go func() {
		defer func() { <-e.places }()
		var w api.Watch
		if e.r.verbose {
			w.Event = (&eventPrinter{p: e.p, prefix: quote(entry.Name) + ": ", all: true}).print
		}
		j, err := e.r.session.Jobs.Run(ctx, e.request(entry.CID), w)
		done <- row{entry.Name, j, err}
	}()
	return nil
}

// request returns the request with c in place of the directory.
func (e each) request(c cid.Cid) api.Request {
	r := e.r.request
	r.Task.In = slices.Clone(r.Task.In)
	r.Task.In[e.slot].CID = job.V1(c)
	if r.Task.Det == job.DetNone {
		r.Task.Nonce = newNonce()
	}
	return r
}

// print prints a row as soon as it is known; without --json it says on stderr what a row has no
// room for.
func (e each) print(r row) error {
	if r.err != nil && e.p.stdout.gone.Load() {
		return r.err
	}
	if e.r.json {
		return errors.Join(e.table.put(r), e.table.Flush())
	}
	switch {
	case r.err != nil:
		e.p.say("liftoff: error: %s: %s", quote(r.entry), clean(r.err.Error()))
	case e.r.quiet:
		return e.p.words(r.job.OutcomeCID.String())
	case r.job.Outcome.State != job.OK:
		e.p.say("liftoff: hint: %s: liftoff job logs %s", quote(r.entry), r.job.ID)
	}
	return errors.Join(e.table.put(r), e.table.Flush())
}

func codeOfRow(r row) int {
	if r.err != nil {
		return codeOf(r.err)
	}
	if code, ok := exitOf(r.job).(exited); ok {
		return int(code)
	}
	return 0
}

// severity orders our own exit codes, the worst first; those of a guest come after them.
var severity = []int{exitInterrupted, exitUsage, exitDisagree, exitFault, exitNotFound, exitRefused, exitTimeout, exitLimit, exitFuel, exitTrap}

// worse returns the worse of two exit codes.
func worse(a, b int) int {
	rank := func(code int) int {
		if i := slices.Index(severity, code); i >= 0 {
			return 1000 - i
		}
		return code
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}
