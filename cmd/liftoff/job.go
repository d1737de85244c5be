//go:build !windows

package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func jobCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "job",
		Usage: "look at runs, past and present",
		Description: `Every run has a job: an id, when and where it ran, what came of it. A job is named by its
id or the beginning of it.`,
		CustomHelpTemplate: help(`$ liftoff job ls
j-0d9q… ok 2030-01-01T12:00:00Z bafyrei…
$ liftoff job logs j-0d9q`),
		Subcommands: []*cli.Command{jobLsCommand(p), jobDescribeCommand(p), jobLogsCommand(p), jobGetCommand(p), jobCancelCommand(p), jobRerunCommand(p)},
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
			return printList(p, c, jobListing(jobs), jobs...)
		}),
	}
}

// findJob returns the job that the command's one argument names.
func findJob(c *cli.Context, s *node.Session) (api.Job, error) {
	args := c.Args().Slice()
	return s.Jobs.Find(c.Context, args[0])
}

// errNoOutcome says that a job has nothing to show.
var errNoOutcome = errors.New("the job has no outcome")

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
			if j.Outcome == nil {
				return hinted(notFound(errNoOutcome), "liftoff job describe %s", j.ID)
			}
			target := c.String("output")
			if target == "" {
				target = j.ID
			}
			return p.get(c, s, j.Outcome.Root.String(), target)
		}),
	}
}
