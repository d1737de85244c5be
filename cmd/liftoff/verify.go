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

// The exit codes that only verify has.
const (
	exitInvalid   = 2
	exitMismatch  = 3
	exitUndecided = 4
)

const verifyCodes = `EXIT CODES:
   0    verified
   2    the signature or the encoding is bad
   3    mismatch: another outcome, or one of another task
   4    it cannot be decided: something is missing, or the task is nondet
   125  this machine or its repo is to blame
   127  not found: a path, or a receipt that is not in the repo
   129  the command line makes no sense
   130  interrupted
   141  nobody reads stdout any more
`

func verifyCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "check a receipt",
		ArgsUsage: "RECEIPT",
		Description: `Checks a receipt as far as it can be checked here, and prints a line for each step: its
name, what came of it, and why. The last line is the level that was reached:

   attested     its issuer has said so
   agreed K/N   K of the N keys with a receipt here for the task name this outcome
   reexecuted   it was run here, with the same outcome: --reexec

On a mismatch the CIDs of both outcomes are printed, and both receipts are kept. Where it is
another key that says something else, and the task was not run here, the receipt may be the
one that is right: --reexec tells.

RECEIPT is a local path, or the CID of a receipt, the beginning of it, or a job's id. A
file that ends in .car is a CAR whose root is the receipt, as liftoff receipt export
writes it; its blocks stay until the next gc. Any other file is the receipt's block.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "reexec", Usage: "run the task here, and compare outcomes"},
			&cli.BoolFlag{Name: "json", Usage: "print one object"},
		},
		Before: takes("a receipt", 1, 1),
		CustomHelpTemplate: helpWith(`$ liftoff verify receipt.car --reexec
encoding   verified
signature  verified  did:key:z6Mk…
outcome    verified  ok
output     verified  complete
reexec     verified  j-0d9q…
others     verified  2 of 2 keys
reexecuted bafyrei…`, verifyCodes),
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

// envelope finds the bytes of the receipt that ref names: a local path, where there is
// one, else what the repo has.
func (p *process) envelope(ctx context.Context, s *node.Session, ref string) ([]byte, error) {
	info, err := os.Stat(ref)
	switch {
	case err == nil && info.IsDir():
		return nil, usagef("%s is a directory, not a receipt", quote(ref))
	case err == nil && isCAR(ref):
		return p.envelopeOfCAR(ctx, s, ref)
	case err == nil:
		return p.envelopeOfFile(ctx, ref)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) && !isNotDir(err):
		return nil, pathError(ref, err)
	}
	name, err := p.receiptNamed(ctx, s, ref)
	if isMissing(err) && (isCAR(ref) || strings.ContainsAny(ref, "./")) {
		return nil, hinted(notFound(fmt.Errorf("there is no file %s, and no receipt of that name", quote(ref))), "ls -l %s", quote(filepath.Dir(ref)))
	}
	if err != nil {
		return nil, err
	}
	return blockOf(ctx, s, name)
}

// isMissing reports that a name was looked for and not found, or could be no name.
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
	b, err := io.ReadAll(io.LimitReader(f, dag.MaxBlock+1)) // what is longer is no receipt
	if err != nil {
		return nil, pathError(path, err)
	}
	return b, nil
}

// envelopeOfCAR imports a CAR, without a pin: the session keeps its blocks as long as
// the command needs them.
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
		return nil, usagef("%s has %d roots: a receipt is one", quote(path), len(got.Roots))
	}
	b, err := blockOf(ctx, s, got.Roots[0])
	if missing := (*dag.NotFoundError)(nil); errors.As(err, &missing) {
		err = &codeError{fmt.Errorf("%s does not hold its root: %w", quote(path), err), exitUndecided}
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
