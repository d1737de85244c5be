//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
)

func jobCancelCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:               "cancel",
		Usage:              "cancel running jobs",
		ArgsUsage:          "ID…",
		Description:        `Stops each job, here or at the peer that runs it. A cancelled job has no outcome.`,
		Before:             takes("the id of a job", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff job cancel j-0d9q`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			for _, prefix := range c.Args().Slice() {
				j, err := s.Jobs.Find(c.Context, prefix)
				if err != nil {
					return err
				}
				if err := s.Jobs.Cancel(c.Context, j.ID); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}
