//go:build !windows

package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
)

// rerunFlags are those of run that say how, and not what.
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
		Usage:     "run a job's task again",
		ArgsUsage: "ID",
		Description: `Runs the task of a job again, whether its outcome is known or not, under the job's labels
and those of --label. The flags are those of run; limits and places that the job had are
not kept. A task of run --nondet is run as a new one.`,
		Flags:  append(flags, placementFlags...),
		Before: takes("the id of a job", 1, 1),
		CustomHelpTemplate: help(`$ liftoff job rerun j-0d9q --where network
  1290  21333 124000 /in/text
…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			j, err := findJob(c, s)
			if err != nil {
				return err
			}
			b, err := dag.Load(c.Context, s.Blocks, j.Task)
			if err != nil {
				return fmt.Errorf("the task of %s: %w", j.ID, notFound(err))
			}
			task, err := job.DecodeTask(b.Data())
			if err != nil {
				return fmt.Errorf("the task of %s: %w", j.ID, err)
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
