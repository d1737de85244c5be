//go:build !windows

package main

import (
	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func jobLogsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "print the stdout or stderr of a job",
		ArgsUsage: "ID",
		Description: `Prints the stdout of a job; of a running one, what it has printed so far. With --follow it
goes on until the job ends; the exit code is then that of the job, as with liftoff run. On a terminal, control characters are made visible.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "stderr", Usage: "print stderr instead of stdout"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "print the output of a running job until it ends"},
		},
		Before: takes("the id of a job", 1, 1),
		CustomHelpTemplate: help(`$ liftoff job logs j-0d9q
hello
$ liftoff job logs -f $(liftoff run --detach hello.wasm)
hello`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			j, err := findJob(c, s)
			if err != nil {
				return err
			}
			if j.State == api.JobRunning {
				return p.runningLogs(c, s, j.ID)
			}
			if j.Outcome == nil && j.Err != nil && c.Bool("follow") {
				return j.Err
			}
			if j.Outcome == nil {
				return hinted(notFound(errNoOutcome), "liftoff job describe %s", j.ID)
			}
			log := j.Outcome.Stdout
			if c.Bool("stderr") {
				log = j.Outcome.Stderr
			}
			if err := p.writeLog(c, s, log); err != nil || !c.Bool("follow") {
				return err
			}
			return exitOf(j)
		}),
	}
}

// runningLogs prints the output of a running job: what it has printed so far, or with --follow all until the job
// ends, and then the error is that of the job.
func (p *process) runningLogs(c *cli.Context, s *node.Session, id string) error {
	w := api.Watch{SoFar: !c.Bool("follow")}
	if out := forTerminal(p.stdout); c.Bool("stderr") {
		w.Stderr = out
	} else {
		w.Stdout = out
	}
	if err := s.Jobs.Logs(c.Context, id, w); err != nil || w.SoFar {
		return err
	}
	return p.endOf(c, s, id)
}

// endOf waits until a job has ended and returns the error that run would return.
func (p *process) endOf(c *cli.Context, s *node.Session, id string) error {
	if err := s.Jobs.Follow(c.Context, id, 0, func(api.Event) error { return nil }); err != nil {
		return err
	}
	j, err := s.Jobs.Find(c.Context, id)
	switch {
	case err != nil:
		return err
	case j.Outcome != nil:
		return exitOf(j)
	case j.Err != nil:
		return j.Err
	}
	return hinted(notFound(errNoOutcome), "liftoff job describe %s", id)
}

func (p *process) writeLog(c *cli.Context, s *node.Session, log cid.Cid) error {
	if !log.Defined() {
		return nil
	}
	blocks, stop := s.Reading(c.Context, log)
	defer stop()
	f, err := dag.OpenFile(c.Context, blocks, log)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteTo(c.Context, forTerminal(p.stdout))
	return err
}
