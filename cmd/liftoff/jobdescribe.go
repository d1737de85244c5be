//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node"
)

func jobDescribeCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "describe",
		Usage:     "show the details, bids and events of a job",
		ArgsUsage: "ID",
		Description: `Prints the task, where it ran, how it ended and how much it read; the bid or refusal of
every peer that was asked; and the events in order.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("the id of a job", 1, 1),
		CustomHelpTemplate: help(`$ liftoff job describe j-0d9q
job       j-0d9q…
state     ok
task      bafyreie…
outcome   bafyreic…
output    bafybeia…
…
event     12:00:00.437 done`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			j, err := findJob(c, s)
			if err != nil {
				return err
			}
			r, err := reportOf(j)
			if err != nil {
				return err
			}
			r.Placement, r.Events = j.Placement, j.Events
			if b, err := dag.Load(c.Context, s.Blocks, j.Task); err == nil { // gc may have deleted it
				if r.TaskObject, err = dag.BlockJSON(b); err != nil {
					return err
				}
			}
			return p.fact(c, r, func(s *ui.Screen, f *ui.Facts) { jobFacts(s, f, j) })
		}),
	}
}
