//go:build !windows

package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// deliver writes the files of --output and --car.
func (r prepared) deliver(ctx context.Context, j api.Job) error {
	if r.output != "" {
		blocks, stop := r.session.Reading(ctx, j.Outcome.Root)
		defer stop()
		x := extraction{blocks: blocks, force: r.force, progress: io.Discard}
		if err := x.to(ctx, j.Outcome.Root, r.output); err != nil {
			return fmt.Errorf("write the output: %w", err)
		}
	}
	if r.car == "" {
		return nil
	}
	taken := map[cid.Cid]bool{j.OutcomeCID: true, j.Task: true}
	if err := takeAll(ctx, r.session.Blocks, outputRoots(*j.Outcome), j.Refs, taken); err != nil {
		return err
	}
	options := dag.CAROptions{Skip: func(c cid.Cid) bool { return !taken[c] }}
	return writeFile(ctx, r.car, r.force, func(w io.Writer) error {
		return dag.WriteCAR(ctx, w, r.session.Blocks, []cid.Cid{j.OutcomeCID}, options)
	})
}

// summary prints the result of a run. delivered says that the files of --output and --car were written.
func (p *process) summary(ctx context.Context, r prepared, j api.Job, delivered bool) error {
	if r.json {
		return p.jsonSummary(r.request.Task, j, inputTotal(ctx, r.session, r.request.Task, j.Run))
	}
	if r.quiet {
		p.explainEnd(j)
		_, err := fmt.Fprintln(p.stdout, j.OutcomeCID)
		return err
	}
	p.explainEnd(j)
	p.say("liftoff: outcome %s", outcomeLine(r.request.Task, j))
	p.say("liftoff: output  %s", outputLine(ctx, r, j, delivered))
	p.ranOn(j)
	p.printRuns(j)
	p.say("liftoff: fuel    %d", j.Outcome.Fuel)
	if j.Receipt.Defined() {
		p.say("liftoff: receipt %s", j.Receipt)
	}
	if j.Cached || j.Remote || len(inputRoots(r.request.Task)) == 0 {
		return nil
	}
	p.say("liftoff: read    %s", readLine(j.Read, inputTotal(ctx, r.session, r.request.Task, j.Run)))
	return nil
}

func (p *process) jsonSummary(t job.Task, j api.Job, of total) error {
	report, err := reportOf(j)
	if err != nil {
		return err
	}
	if report.TaskObject, err = taskJSON(t); err != nil {
		return err
	}
	if report.Read != nil {
		report.Read.Of = &of
	}
	return p.objects().put(report)
}

// outcomeLine is the CID of an outcome, its state, and whether it was or will be cached.
func outcomeLine(t job.Task, j api.Job) string {
	line := j.OutcomeCID.String() + " " + ended(j)
	switch {
	case j.Cached:
		line += ", cached"
	case t.Det == job.DetNone:
		line += ", nondet: never cached"
	}
	return line
}

// outputLine is the CID of an output, and where it was written or how to save it.
func outputLine(ctx context.Context, r prepared, j api.Job, delivered bool) string {
	root := j.Outcome.Root.String()
	var files []string
	for _, name := range []string{r.output, r.car} {
		if name != "" && delivered {
			files = append(files, quote(name))
		}
	}
	line := root
	empty := isEmptyDir(ctx, r.session, j.Outcome.Root)
	if empty {
		line += ", empty"
	}
	kind, err := dag.Kind(ctx, r.session.Blocks, j.Outcome.Root)
	switch {
	case len(files) > 0:
		return line + " (written to " + strings.Join(files, " and ") + ")"
	case empty:
		return line
	case err == nil && (kind == abi.KindFile || kind == abi.KindRaw):
		return fmt.Sprintf("%s (save it: liftoff get %s -o FILE)", root, root)
	}
	return fmt.Sprintf("%s (save it: liftoff get %s -o DIR)", root, root)
}

// readLine formats how much of the inputs a run has read. of is left out when its count is
// incomplete and smaller than that.
func readLine(r api.Read, of total) string {
	more := ""
	if !of.Complete {
		more = " or more"
		if of.Blocks <= int64(r.Blocks) || of.Bytes < r.Bytes {
			return fmt.Sprintf("%s (%s)", count(r.Blocks, "block"), size(r.Bytes))
		}
	}
	return fmt.Sprintf("%d of %s%s (%s of %s)", r.Blocks, count(int(of.Blocks), "block"), more, size(r.Bytes), size(of.Bytes))
}

func isEmptyDir(ctx context.Context, s *node.Session, c cid.Cid) bool {
	d, err := dag.OpenDir(ctx, s.Blocks, c)
	if err != nil {
		return false
	}
	_, next, err := d.Next(ctx, 0)
	return err == nil && next == 0
}

// explainEnd prints to stderr how a guest ended, unless it ended with 0.
func (p *process) explainEnd(j api.Job) {
	o := j.Outcome
	switch o.State {
	case job.OK:
	case job.Exit:
		p.say("liftoff: the guest ended with exit code %d", o.Code)
	case job.Trap:
		p.say("liftoff: error: the guest trapped: %s", trapNames[o.Code])
		if stack := strings.TrimPrefix(j.Fault, trapNames[o.Code]+"\n"); stack != "" {
			p.say("%s", strings.TrimRight(cleanBlock(stack), "\n"))
		}
	case job.OutOfFuel:
		p.say("liftoff: error: the guest ran out of fuel: limit %d", o.Limits.Fuel)
		p.say("liftoff: hint: add --fuel with a larger limit")
	default:
		p.say("liftoff: error: the guest reached a limit: %s", limitText(*o))
		switch o.Code {
		case job.QuotaPages:
			p.say("liftoff: hint: add --memory with a larger limit")
		case job.QuotaOut:
			p.say("liftoff: hint: add --max-output with a larger limit")
		}
	}
}

func limitText(o job.Outcome) string {
	l := o.Limits
	switch o.Code {
	case job.QuotaPages:
		return size(int64(l.Pages)<<16) + " of memory"
	case job.QuotaOut:
		return size(int64(l.Out)) + " of output"
	case job.QuotaTmp:
		return size(int64(l.Tmp)) + " in /tmp"
	}
	return size(int64(l.Log)) + " of stdout and stderr"
}

// exitOf is the exit code of a run that has an outcome.
func exitOf(j api.Job) error {
	switch j.Outcome.State {
	case job.OK:
		return nil
	case job.Exit:
		return exited(j.Outcome.Code)
	case job.Trap:
		return exited(exitTrap)
	case job.OutOfFuel:
		return exited(exitFuel)
	}
	return exited(exitLimit)
}
