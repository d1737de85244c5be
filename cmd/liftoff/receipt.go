//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func receiptCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "receipt",
		Usage: "look at receipts and take them elsewhere",
		Description: `A receipt is a signed word that a task evaluates to an outcome. Every run leaves one of
this repo's key, see liftoff id; liftoff verify checks it, here or elsewhere.

` + receiptRefHelp,
		CustomHelpTemplate: help(`$ liftoff receipt export bafyreif3 -o receipt.car
$ scp receipt.car there: && ssh there liftoff verify receipt.car`),
		Subcommands: []*cli.Command{receiptLsCommand(p), receiptShowCommand(p), receiptExportCommand(p), receiptAddCommand(p)},
	}
}

const receiptRefHelp = `A receipt is named by its CID or the beginning of it, or by a job's id.`

// isJobID reports whether ref is the id of a job or the beginning of one.
func isJobID(ref string) bool { return strings.HasPrefix(ref, "j-") }

// receiptNamed returns the CID of the receipt that ref names.
func (p *process) receiptNamed(ctx context.Context, s *node.Session, ref string) (cid.Cid, error) {
	if isJobID(ref) {
		j, err := s.Jobs.Find(ctx, ref)
		if err == nil && !j.Receipt.Defined() {
			err = hinted(notFound(fmt.Errorf("job %s has no receipt", j.ID)), "liftoff job describe %s", j.ID)
		}
		return j.Receipt, err
	}
	if _, err := dag.ParsePath(ref); err == nil {
		return p.root(ctx, s, ref)
	}
	info, err := s.Receipts.FindReceipt(ctx, ref)
	return info.CID, err
}

func receiptLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list receipts, the newest first",
		Description: `Prints a line for each receipt: its CID, when it was signed, the task, the outcome, the
did:key of who says so, and "own" if that is this repo.`,
		Flags:  []cli.Flag{&cli.StringFlag{Name: "task", Usage: "only those for `TASK`: a CID, or the id of a job"}, jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff receipt ls
bafyrei… 2030-01-01T12:00:00Z bafyrei… bafyrei… did:key:z6Mk… own`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			receipts, err := receiptsFor(c, s)
			if err != nil {
				return err
			}
			return printList(p, c, receiptListing(receipts), receipts...)
		}),
	}
}

func receiptsFor(c *cli.Context, s *node.Session) ([]api.ReceiptInfo, error) {
	if !c.IsSet("task") {
		return s.Receipts.Receipts(c.Context)
	}
	task, err := taskNamed(c, s, c.String("task"))
	if err != nil {
		return nil, err
	}
	return s.Receipts.ReceiptsOf(c.Context, task)
}

func receiptShowCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "print what a receipt says",
		ArgsUsage: "RECEIPT",
		Description: `Prints who says what of which task, or with --json the receipt's block as DAG-JSON: the
signature and what it covers. The signature is checked; nothing else is.

` + receiptRefHelp,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print the block as DAG-JSON"}},
		Before: takes("a receipt", 1, 1),
		CustomHelpTemplate: help(`$ liftoff receipt show j-0d9q
receipt  bafyrei…
issuer   did:key:z6Mk… (own)
task     bafyrei…
outcome  bafyrei…
issued   2030-01-01T12:00:00Z
took     12ms
by       liftoff 0.1.0, wazero v1.12.0, amd64`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.receiptShow(c, s) }),
	}
}

func (p *process) receiptShow(c *cli.Context, s *node.Session) error {
	ref := c.Args().First()
	name, err := p.receiptNamed(c.Context, s, ref)
	if err != nil {
		return err
	}
	b, err := dag.Load(c.Context, s.Blocks, name)
	if err != nil {
		return err
	}
	r, err := job.DecodeReceipt(b.Data())
	if errors.Is(err, job.ErrSignature) {
		return hinted(err, "%s", showBlock(name))
	}
	if err != nil {
		return hinted(usagef("%s is no receipt: %s", quote(ref), err), "liftoff receipt ls")
	}
	object, err := dag.BlockJSON(b)
	if err != nil {
		return err
	}
	id, err := s.Identity.Identity(c.Context)
	if err != nil {
		return err
	}
	report := receiptReportOf(name, r, string(r.Issuer) == id.DID, object)
	return p.fact(c, report, func(s *ui.Screen, f *ui.Facts) { receiptFacts(s, f, report) })
}

func receiptExportCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write a receipt with its evidence as a CAR",
		ArgsUsage: "RECEIPT",
		Description: `Writes a CAR, to stdout or to --output, whose root is the receipt: it holds the receipt,
the task, the outcome, the output, stdout and stderr, so that it verifies on another
machine with nothing but that file. With --full it holds the module and the inputs, too:
then it also runs there, with liftoff verify --reexec.

` + receiptRefHelp,
		Flags:  exportFlags,
		Before: takes("a receipt", 1, 1),
		CustomHelpTemplate: help(`$ liftoff receipt export j-0d9q --full -o receipt.car
$ liftoff verify receipt.car --reexec`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			ref := c.Args().First()
			name, err := p.receiptNamed(c.Context, s, ref)
			if err != nil {
				return err
			}
			_, ok, err := loadReceipt(c.Context, s.Blocks, name)
			if err == nil && !ok {
				err = hinted(usagef("%s is no receipt", quote(ref)), "liftoff car export %s", name)
			}
			if err != nil {
				return err
			}
			return p.exportRoots(c, s, []cid.Cid{name})
		}),
	}
}
