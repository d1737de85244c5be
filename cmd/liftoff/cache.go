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
		Usage: "look at and forget what tasks evaluate to",
		Description: `A task has one outcome, so liftoff run computes it once. The cache holds which outcome
it is, on the word of which receipt; the output itself is kept by the job's pin.`,
		CustomHelpTemplate: help(`$ liftoff cache ls
bafyrei… bafyrei… ok 3201877 2030-01-01T12:00:00Z
$ liftoff cache rm --all`),
		Subcommands: []*cli.Command{cacheLsCommand(p), cacheRmCommand(p)},
	}
}

func cacheLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list the outcomes that are known, the newest first",
		Description: `Prints a line for each: the task, its outcome, how it ends ("-" when that is not here any
more), the fuel that it takes, since when it is known.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff cache ls
bafyrei… bafyrei… exit:3 3201877 2030-01-01T12:00:00Z`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			memos, err := s.Cache.CachedResults(c.Context)
			if err != nil {
				return err
			}
			return printList(p, c, cacheListing, memos...)
		}),
	}
}

func cacheRmCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Usage:     "forget outcomes",
		ArgsUsage: "[TASK…]",
		Description: `Forgets the outcomes of tasks, each named by its CID or by a job that ran it, or all of
them with --all: the next liftoff run computes them again. Jobs, receipts and outputs stay.`,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "forget all of them"}},
		Before: takes("a task", 0, unbounded),
		CustomHelpTemplate: help(`$ liftoff cache rm bafyrei…
$ liftoff cache rm j-0d9q
$ liftoff cache rm --all`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			tasks := c.Args().Slice()
			switch all := c.Bool("all"); {
			case all && len(tasks) > 0:
				return usagef("--all leaves no task to be named")
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

// taskNamed returns the task that is named by its CID or by a job.
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
