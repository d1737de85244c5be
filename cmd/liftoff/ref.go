//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
)

const refHelp = `A CID may have a path behind it, see liftoff help references.`

// resolve resolves a reference of the command line. The error has exit code 129 when ref
// is not a reference, and 127 when it names nothing.
func (p *process) resolve(ctx context.Context, s *node.Session, ref string) (dag.Resolved, error) {
	return p.resolveIn(ctx, s.Blocks, ref)
}

func (p *process) resolveIn(ctx context.Context, blocks dag.Blocks, ref string) (dag.Resolved, error) {
	path, err := dag.ParsePath(ref)
	if err != nil {
		return dag.Resolved{}, usagef("%s", err)
	}
	at, err := dag.Resolve(ctx, blocks, path)
	var (
		missing *dag.NotFoundError
		noEntry *dag.NoEntryError
		notDir  *dag.NotDirError
	)
	switch {
	case errors.As(err, &noEntry):
		return dag.Resolved{}, hinted(notFound(err), "liftoff ls %s", noEntry.Path)
	case errors.As(err, &missing), errors.As(err, &notDir):
		return dag.Resolved{}, notFound(err)
	}
	return at, err
}

// root returns the CID of the block that ref names. A block that is not in the repo is an error.
func (p *process) root(ctx context.Context, s *node.Session, ref string) (cid.Cid, error) {
	at, err := p.resolve(ctx, s, ref)
	if err != nil {
		return cid.Undef, err
	}
	if err := isBlock(at, ref); err != nil {
		return cid.Undef, err
	}
	if dag.IsIdentity(at.CID) {
		return at.CID, nil
	}
	held, err := s.Blocks.Has(ctx, at.CID)
	if err != nil {
		return cid.Undef, err
	}
	if !held {
		var missing error = &dag.NotFoundError{CID: at.CID}
		if strings.ContainsRune(ref, '/') {
			missing = fmt.Errorf("%s: %w", quote(ref), missing)
		}
		return cid.Undef, notFound(missing)
	}
	return at.CID, nil
}

func isBlock(at dag.Resolved, ref string) error {
	if at.Value != nil {
		return hinted(usagef("%s is a value inside a block, want a block", quote(ref)), "liftoff dag get %s", quote(ref))
	}
	return nil
}
