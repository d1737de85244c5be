//go:build !windows

package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func jobCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "job",
		Usage: "list, follow, cancel and rerun jobs",
		Description: `Every run is a job: it has an id, a time and a place, events, and an outcome. A job is
named by its id or the beginning of it.`,
		CustomHelpTemplate: help(`$ liftoff job ls
JOB         STATE  CREATED  OUTCOME        LABELS
j-0d9q37ab  ok     26s ago  bafyre…nukrhi  -
$ liftoff job logs j-0d9q
hello`),
		Subcommands: []*cli.Command{jobLsCommand(p), jobDescribeCommand(p), jobLogsCommand(p), jobGetCommand(p), jobCancelCommand(p), jobRerunCommand(p)},
	}
}

func jobLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list jobs, newest first",
		Description: `Prints a line for each job: its id, its state, when it began, the CID of its outcome ("-"
for none), and its labels. The state is running; ok, exit:CODE, trap:CODE, quota:CODE or
out_of_fuel when the guest has ended; or failed when the guest was not run to its end.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff job ls
JOB         STATE   CREATED  OUTCOME        LABELS
j-0d9q37ab  exit:3  now      bafyre…xbprzm  team=blue
j-0d9q2c5m  ok      3m ago   bafyre…nukrhi  -`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			jobs, err := s.Jobs.List(c.Context)
			if err != nil {
				return err
			}
			return printList(p, c, jobListing(jobs), jobs...)
		}),
	}
}

// findJob returns the job that the argument of the command names.
func findJob(c *cli.Context, s *node.Session) (api.Job, error) {
	args := c.Args().Slice()
	return s.Jobs.Find(c.Context, args[0])
}

// errNoOutcome is the error of commands that show the outcome of a job.
var errNoOutcome = errors.New("the job has no outcome")

func jobGetCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "get",
		Usage:     "write the output of a job to the disk",
		ArgsUsage: "ID",
		Description: `Writes the output as liftoff get does: as a folder, or as a file when the output is a single
file. Without --output, its name is the id of the job.`,
		Flags:  getFlags("the id of the job"),
		Before: takes("the id of a job", 1, 1),
		CustomHelpTemplate: help(`$ liftoff job get j-0d9q -o result
result`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			j, err := findJob(c, s)
			if err != nil {
				return err
			}
			if j.State == api.JobRunning {
				return hinted(notFound(fmt.Errorf("job %s is still running", j.ID)), "liftoff job logs -f %s", j.ID)
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
