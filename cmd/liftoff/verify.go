//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func verifyCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "check a receipt",
		ArgsUsage: "RECEIPT",
		Description: `Checks a receipt and prints a line for each step: its name, its result, the reason. The last
line is the level that was reached:

   attested     the issuer has signed the outcome
   agreed K/N   K of the N keys with a receipt for the task in this repo have this outcome
   reexecuted   a run on this node had the same outcome (--reexec)

On a mismatch both outcomes are printed and both receipts are kept. Without --reexec, a
mismatch with the receipt of another key does not say which of the two is right.

RECEIPT is a local file, the CID of a receipt, the beginning of it, or the id of a job. A
file that ends in .car is a CAR file of liftoff receipt export; its blocks stay until the
next liftoff gc. Any other file is the block of a receipt.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "reexec", Usage: "run the task on this node and compare the outcomes"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON, one object"},
		},
		Before: takes("a receipt", 1, 1),
		CustomHelpTemplate: help(`$ liftoff verify receipt.car --reexec
STEP       ANSWER    DETAIL
encoding   verified  -
signature  verified  did:key:z6Mk…
outcome    verified  ok
output     verified  complete
reexec     verified  j-0d9q…
others     skipped   -
reexecuted  bafyreig…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.verify(c, s) }),
	}
}

func (p *process) verify(c *cli.Context, s *node.Session) error {
	envelope, err := p.envelope(c.Context, s, c.Args().First())
	if err != nil {
		return err
	}
	v, err := s.VerifyReceipt(c.Context, envelope, node.VerifyOptions{Reexec: c.Bool("reexec")})
	if err != nil {
		return err
	}
	if err := p.verdict(c, v); err != nil {
		return err
	}
	if code := verdictCodes[v.Answer]; code != 0 {
		return exited(code)
	}
	return nil
}

var verdictCodes = map[node.Answer]int{
	node.Invalid: exitInvalid, node.Mismatch: exitMismatch, node.Undecided: exitUndecided,
}

// envelope returns the bytes of the receipt that ref names: a local file if it exists, else a
// receipt in the repo.
func (p *process) envelope(ctx context.Context, s *node.Session, ref string) ([]byte, error) {
	info, err := os.Stat(ref)
	switch {
	case err == nil && info.IsDir():
		return nil, usagef("%s is a folder, want a receipt", quote(ref))
	case err == nil && isCAR(ref):
		return p.envelopeOfCAR(ctx, s, ref)
	case err == nil:
		return p.envelopeOfFile(ctx, ref)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) && !isNotDir(err):
		return nil, pathError(ref, err)
	}
	name, err := p.receiptNamed(ctx, s, ref)
	if isMissing(err) && (isCAR(ref) || strings.ContainsAny(ref, "./")) {
		return nil, hinted(notFound(fmt.Errorf("%s is neither a file nor a receipt", quote(ref))), "ls -l %s", quote(filepath.Dir(ref)))
	}
	if err != nil {
		return nil, err
	}
	return blockOf(ctx, s, name)
}

// isMissing reports whether err says that a name was not found or is not valid.
func isMissing(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && (e.Code == api.CodeMissing || e.Code == api.CodeUsage)
}

func (p *process) envelopeOfFile(ctx context.Context, path string) ([]byte, error) {
	f, err := p.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, dag.MaxBlock+1)) // larger than any receipt
	if err != nil {
		return nil, pathError(path, err)
	}
	return b, nil
}

// envelopeOfCAR imports a CAR without a pin: the session keeps its blocks until the command
// ends.
func (p *process) envelopeOfCAR(ctx context.Context, s *node.Session, path string) ([]byte, error) {
	got, err := p.importCAR(ctx, s.Blocks, path, true)
	var bad *dag.CARError
	if errors.As(err, &bad) {
		return nil, &codeError{err, exitInvalid}
	}
	if err != nil {
		return nil, err
	}
	if len(got.Roots) != 1 {
		return nil, usagef("%s: got %d roots, want 1 receipt", quote(path), len(got.Roots))
	}
	b, err := blockOf(ctx, s, got.Roots[0])
	if missing := (*dag.NotFoundError)(nil); errors.As(err, &missing) {
		err = &codeError{fmt.Errorf("CAR file %s does not hold its root: %w", quote(path), err), exitUndecided}
	}
	return b, err
}

func blockOf(ctx context.Context, s *node.Session, c cid.Cid) ([]byte, error) {
	b, err := dag.Load(ctx, s.Blocks, c)
	return b.Data(), err
}

// text is a CID as a string, "" for none.
func text(c cid.Cid) string {
	if !c.Defined() {
		return ""
	}
	return c.String()
}
