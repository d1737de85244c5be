//go:build !windows

package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
)

// rerunFlags lists the flags of run that do not change the task.
var rerunFlags = []string{
	"fuel", "memory", "max-output", "timeout", "output", "car", "force", "label", "keep", "quiet", "json", "print-after-check",
}

func jobRerunCommand(p *process) *cli.Command {
	var flags []cli.Flag
	for _, f := range runFlags {
		for _, name := range rerunFlags {
			if f.Names()[0] == name {
				flags = append(flags, f)
			}
		}
	}
	return &cli.Command{
		Name:      "rerun",
		Usage:     "run the task of a job again",
		ArgsUsage: "ID",
		Description: `Runs the task of a job again, even if its result is cached. The new job has the labels of
the old one and those of --label. Limits and placement are not copied: they are set by the
flags, which are those of liftoff run. A task of run --nondet becomes a new task.`,
		Flags:  append(flags, placementFlags...),
		Before: takes("the id of a job", 1, 1),
		CustomHelpTemplate: help(`$ liftoff job rerun j-0d9q
hello
a note
liftoff: outcome bafyreic… ok
…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			j, err := findJob(c, s)
			if err != nil {
				return err
			}
			b, err := dag.Load(c.Context, s.Blocks, j.Task)
			if err != nil {
				return fmt.Errorf("read the task of job %s: %w", j.ID, notFound(err))
			}
			task, err := job.DecodeTask(b.Data())
			if err != nil {
				return fmt.Errorf("read the task of job %s: %w", j.ID, err)
			}
			if task.Det == job.DetNone {
				task.Nonce = newNonce()
			}
			var spec runSpec
			if err := spec.readFlags(c); err != nil {
				return err
			}
			r, err := prepareHow(c, s, spec)
			if err != nil {
				return err
			}
			r.request.Task, r.request.NoCache = task, true
			r.request.Labels = j.Labels
			for k, v := range spec.Labels {
				if r.request.Labels == nil {
					r.request.Labels = map[string]string{}
				}
				r.request.Labels[k] = v
			}
			if r.detach {
				return p.submit(c.Context, r)
			}
			return p.evaluate(c.Context, r)
		}),
	}
}
