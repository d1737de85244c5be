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
		Usage: "list, show, export and add receipts",
		Description: `A receipt is a signed statement that a task evaluates to an outcome. Every run makes one,
signed with this repo's key, see liftoff id. liftoff verify checks it, here or on another
machine.

` + receiptRefHelp,
		CustomHelpTemplate: help(`$ liftoff receipt export j-0d9q -o receipt.car
$ scp receipt.car there: && ssh there liftoff verify receipt.car
…
attested    bafyreig…`),
		Subcommands: []*cli.Command{receiptLsCommand(p), receiptShowCommand(p), receiptExportCommand(p), receiptAddCommand(p)},
	}
}

const receiptRefHelp = `A receipt is named by its CID, the beginning of it, or the id of a job.`

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
		Usage: "list receipts, newest first",
		Description: `Prints a line for each receipt: its CID, when it was signed, the task, the outcome, the
did:key of its issuer, and "own" if that is this repo.`,
		Flags:  []cli.Flag{&cli.StringFlag{Name: "task", Usage: "`TASK` task of the receipts: a CID, or the id of a job (default: all)"}, jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff receipt ls
RECEIPT          ISSUED   TASK           OUTCOME        ISSUER                 OWN
bafyreidnoxau2f  26s ago  bafyre…2snmvi  bafyre…nukrhi  did:key:z6Mkru…RP4d4i  own`),
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
		Usage:     "show the contents of a receipt",
		ArgsUsage: "RECEIPT",
		Description: `Prints the issuer, the task and the outcome of a receipt, or with --json its block as
DAG-JSON: the signature and the signed data. Only the signature is checked.

` + receiptRefHelp,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON: the block of the receipt as DAG-JSON"}},
		Before: takes("a receipt", 1, 1),
		CustomHelpTemplate: help(`$ liftoff receipt show j-0d9q
receipt  bafyreig…
issuer   did:key:z6Mk…
own      yes
task     bafyreie…
outcome  bafyreic…
issued   26s ago
took     5ms
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
		return hinted(usagef("%s is not a receipt: %s", quote(ref), err), "liftoff receipt ls")
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
		Usage:     "write a receipt and its evidence to a CAR file",
		ArgsUsage: "RECEIPT",
		Description: `Writes a CAR file whose root is the receipt, to --output (default: stdout). It holds the
receipt, the task, the outcome, the output, stdout and stderr: all that liftoff verify needs
on another machine. With --full it also holds the module and the inputs, as liftoff verify
--reexec needs.

` + receiptRefHelp,
		Flags:  exportFlags,
		Before: takes("a receipt", 1, 1),
		CustomHelpTemplate: help(`$ liftoff receipt export j-0d9q --full -o receipt.car
$ liftoff verify receipt.car --reexec
…
reexecuted  bafyreig…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			ref := c.Args().First()
			name, err := p.receiptNamed(c.Context, s, ref)
			if err != nil {
				return err
			}
			_, ok, err := loadReceipt(c.Context, s.Blocks, name)
			if err == nil && !ok {
				err = hinted(usagef("%s is not a receipt", quote(ref)), "liftoff car export %s", name)
			}
			if err != nil {
				return err
			}
			return p.exportRoots(c, s, []cid.Cid{name})
		}),
	}
}
