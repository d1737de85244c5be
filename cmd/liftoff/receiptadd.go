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
		Usage:     "keep other people's receipts",
		ArgsUsage: "RECEIPT…",
		Description: `Keeps receipts and prints their CIDs, after a look at their signatures: liftoff verify
counts them as the word of their keys, and one of a key that is trusted answers liftoff
run, as long as the output is here. Each is a local path, a CAR (.car) as liftoff receipt
export writes it or the receipt's block, or a CID. What is in a CAR is kept with it.`,
		Before: takes("a receipt", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff receipt add receipt.car
bafyrei…
$ liftoff verify bafyrei…
…
agreed 2/2 bafyrei…`),
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
