//go:build !windows

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func receiptAddCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "add receipts of other nodes",
		ArgsUsage: "RECEIPT…",
		Description: `Checks the signatures of receipts, stores them and prints their CIDs. liftoff verify counts
them as statements of their keys. A receipt of a trusted key answers liftoff run, as long as
the output is in the repo. RECEIPT is a CID or a local file: a CAR file (.car) of liftoff
receipt export, whose blocks are pinned, or the block of a receipt.`,
		Before: takes("a receipt", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff receipt add receipt.car
bafyreig…
$ liftoff verify bafyreig…
…
agreed 2/2  bafyreig…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			for _, ref := range c.Args().Slice() {
				name, err := p.receiptAdd(c.Context, s, ref)
				if err != nil {
					return err
				}
				if err := p.word(c, receiptName{name.String()}, name.String()); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (p *process) receiptAdd(ctx context.Context, s *node.Session, ref string) (cid.Cid, error) {
	envelope, err := p.envelope(ctx, s, ref)
	if err != nil {
		return cid.Undef, err
	}
	name, err := s.Receipts.AddReceipt(ctx, envelope)
	if err != nil {
		return cid.Undef, fmt.Errorf("%s: %w", quote(ref), err)
	}
	if !isCAR(ref) {
		return name, nil
	}
	if err := s.Data.Sync(ctx); err != nil {
		return cid.Undef, err
	}
	pin := api.Pin{Name: name.String(), Roots: []api.Root{{CID: name, Recursive: true}}, Created: time.Now(), Opaque: true}
	return name, s.Pins.Pin(ctx, pin)
}
