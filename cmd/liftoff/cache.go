//go:build !windows

package main

import (
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
)

func cacheCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "cache",
		Usage: "list and clear cached results",
		Description: `A task has one outcome, so liftoff run computes it once. The result cache holds the
outcome of each task and the receipt that it comes from. The output itself is kept by the
pin of the job.`,
		CustomHelpTemplate: help(`$ liftoff cache ls
TASK           OUTCOME        STATE  FUEL  CREATED
bafyre…2snmvi  bafyre…nukrhi  ok     6606  26s ago
$ liftoff cache rm --all`),
		Subcommands: []*cli.Command{cacheLsCommand(p), cacheRmCommand(p)},
	}
}

func cacheLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list cached results, newest first",
		Description: `Prints a line for each task: its CID, its outcome, how the run ended ("-" when the outcome
is not in the repo), its fuel, the time of the result.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff cache ls
TASK           OUTCOME        STATE  FUEL  CREATED
bafyre…2snmvi  bafyre…nukrhi  ok     6606  26s ago`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			results, err := s.Cache.CachedResults(c.Context)
			if err != nil {
				return err
			}
			return printList(p, c, cacheListing, results...)
		}),
	}
}

func cacheRmCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Usage:     "remove cached results",
		ArgsUsage: "[TASK…]",
		Description: `Removes the results of tasks, or all of them with --all: the next liftoff run computes
them again. A task is named by its CID or by the id of a job. Jobs, receipts and outputs
stay.`,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "remove the results of all tasks"}},
		Before: takes("a task", 0, unbounded),
		CustomHelpTemplate: help(`$ liftoff cache rm bafyreie…
$ liftoff cache rm j-0d9q
$ liftoff cache rm --all`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			tasks := c.Args().Slice()
			switch all := c.Bool("all"); {
			case all && len(tasks) > 0:
				return usagef("--all and a task exclude each other")
			case all:
				return s.Cache.Forget(c.Context, cid.Undef)
			case len(tasks) == 0:
				return hinted(usagef("%s needs a task, or --all", c.Command.HelpName), "liftoff cache ls")
			}
			for _, ref := range tasks {
				task, err := taskNamed(c, s, ref)
				if err != nil {
					return err
				}
				if err := s.Cache.Forget(c.Context, task); err != nil {
					return hinted(err, "liftoff cache ls")
				}
			}
			return nil
		}),
	}
}

// taskNamed returns the CID of the task that ref names: by its CID, or by the id of a job.
func taskNamed(c *cli.Context, s *node.Session, ref string) (cid.Cid, error) {
	if isJobID(ref) {
		j, err := s.Jobs.Find(c.Context, ref)
		return j.Task, err
	}
	path, err := dag.ParsePath(ref)
	if err == nil && len(path.Segments) > 0 {
		err = fmt.Errorf("%s is a path, not a task", quote(ref))
	}
	if err != nil {
		return cid.Undef, hinted(usagef("%s", err), "liftoff cache ls")
	}
	return path.Root, nil
}
