//go:build !windows

package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func jobCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "job",
		Usage: "look at past runs",
		Description: `Every run has a job: an id, when it ran, what came of it. A job is named by its id or
the beginning of it.`,
		CustomHelpTemplate: help(`$ liftoff job ls
j-0d9q… ok 2030-01-01T12:00:00Z bafyrei…
$ liftoff job logs j-0d9q`),
		Subcommands: []*cli.Command{jobLsCommand(p), jobDescribeCommand(p), jobLogsCommand(p), jobGetCommand(p)},
	}
}

func jobLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list jobs, the newest first",
		Description: `Prints a line for each job: its id, how it ended, when it began, the CID of its outcome
("-" when there is none) and its labels. How it ended: ok, exit:CODE, trap:CODE,
quota:CODE, out_of_fuel; running; failed, when the guest was not to blame.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff job ls
j-0d9q… exit:3 2030-01-01T12:00:00Z bafyrei… team=blue`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			jobs, err := s.Jobs.List(c.Context)
			if err != nil {
				return err
			}
			out := p.lines(c.Bool("json"))
			for _, j := range jobs {
				if err := out.job(j); err != nil {
					return err
				}
			}
			return out.Flush()
		}),
	}
}

func (l lines) job(j api.Job) error {
	if l.json != nil {
		r, err := reportOf(j)
		if err != nil {
			return err
		}
		return l.json.Encode(r)
	}
	outcome := "-"
	if j.Outcome.Defined() {
		outcome = j.Outcome.String()
	}
	if err := l.part("%s %s %s %s", j.ID, ended(j), j.Created.UTC().Format(time.RFC3339), outcome); err != nil {
		return err
	}
	for _, label := range labelsOf(j) {
		if err := l.part(" %s", label); err != nil {
			return err
		}
	}
	return l.part("\n")
}

func labelsOf(j api.Job) []string {
	var labels []string
	for k, v := range j.Labels {
		labels = append(labels, quote(k+"="+v))
	}
	slices.Sort(labels)
	return labels
}

// findJob returns the job that the command's one argument names.
func findJob(c *cli.Context, s *node.Session) (api.Job, error) {
	args := c.Args().Slice()
	return s.Jobs.Find(c.Context, args[0])
}

func jobDescribeCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "describe",
		Usage:       "print all that is known of a job",
		ArgsUsage:   "ID",
		Description: `Prints what ran, how it ended and what it read.`,
		Flags:       []cli.Flag{jsonFlag},
		Before:      takes("the id of a job", 1, 1),
		CustomHelpTemplate: help(`$ liftoff job describe j-0d9q
job      j-0d9q…
state    ok
task     bafyrei…
outcome  bafyrei…
output   bafybei…
receipt  bafyrei…
fuel     3201877`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			j, err := findJob(c, s)
			if err != nil {
				return err
			}
			out := p.lines(c.Bool("json"))
			if out.json == nil {
				describeJob(out, j)
				return out.Flush()
			}
			r, err := reportOf(j)
			if err != nil {
				return err
			}
			if b, err := dag.Load(c.Context, s.Blocks, j.Task); err == nil { // collected, perhaps
				if r.Task.Object, err = dag.BlockJSON(b); err != nil {
					return err
				}
			}
			if err := out.json.Encode(r); err != nil {
				return err
			}
			return out.Flush()
		}),
	}
}

func describeJob(out lines, j api.Job) {
	row := func(key, format string, a ...any) { fmt.Fprintf(out, "%-8s %s\n", key, fmt.Sprintf(format, a...)) }
	link := func(key string, c cid.Cid) {
		if c.Defined() {
			row(key, "%s", c)
		}
	}
	row("job", "%s", j.ID)
	row("state", "%s", ended(j))
	link("task", j.Task)
	link("outcome", j.Outcome)
	if o := j.Result; o != nil {
		link("output", o.Root)
		link("stdout", o.Stdout)
		link("stderr", o.Stderr)
		link("receipt", j.Receipt)
		row("fuel", "%d", o.Fuel)
		row("memory", "%s", size(int64(o.Pages)<<16))
	}
	if j.Cached {
		row("cached", "the outcome was known: nothing ran")
	}
	row("read", "%s (%s)", count(j.Read.Blocks, "block"), size(j.Read.Bytes))
	row("created", "%s", j.Created.UTC().Format(time.RFC3339))
	if !j.Ended.IsZero() {
		row("took", "%s (compile %s, run %s)", rounded(j.Ended.Sub(j.Created)), rounded(j.Compile), rounded(j.Run))
	}
	for _, label := range labelsOf(j) {
		row("label", "%s", label)
	}
	if j.Err != nil {
		row("error", "%s", clean(j.Err.Message))
	}
	if j.Fault != "" {
		row("fault", "%s", cleanBlock(j.Fault))
	}
}

func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// errNoOutcome says that a job has nothing to show.
var errNoOutcome = errors.New("the job has no outcome")

func jobLogsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "print what a job wrote to stdout",
		ArgsUsage: "ID",
		Description: `Writes the job's stored stdout, or its stderr, to stdout. On a terminal, control
characters are made visible.`,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "stderr", Usage: "what it wrote to stderr"}},
		Before: takes("the id of a job", 1, 1),
		CustomHelpTemplate: help(`$ liftoff job logs j-0d9q
hello`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			j, err := findJob(c, s)
			if err != nil {
				return err
			}
			if j.Result == nil {
				return hinted(notFound(errNoOutcome), "liftoff job describe %s", j.ID)
			}
			log := j.Result.Stdout
			if c.Bool("stderr") {
				log = j.Result.Stderr
			}
			if !log.Defined() {
				return nil
			}
			f, err := dag.OpenFile(c.Context, s.Blocks, log)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteTo(c.Context, forTerminal(p.stdout))
			return err
		}),
	}
}

func jobGetCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "get",
		Usage:       "write a job's output to the disk",
		ArgsUsage:   "ID",
		Description: `Writes the output as liftoff get does, into a folder named after the job or to --output.`,
		Flags:       getFlags,
		Before:      takes("the id of a job", 1, 1),
		CustomHelpTemplate: help(`$ liftoff job get j-0d9q -o result
result`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			j, err := findJob(c, s)
			if err != nil {
				return err
			}
			if j.Result == nil {
				return hinted(notFound(errNoOutcome), "liftoff job describe %s", j.ID)
			}
			target := c.String("output")
			if target == "" {
				target = j.ID
			}
			return p.get(c, s, j.Result.Root.String(), target)
		}),
	}
}
