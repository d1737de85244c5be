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

const refHelp = `A CID is written as a CID, /ipfs/CID or ipfs://CID, and a path may follow: through
directories by name, through DAG-CBOR by key and index. OUTCOME/root is a run's output.`

// resolve finds what a reference of the command line names. The error has exit code
// 129 when the words are no reference, and 127 when they lead nowhere.
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

// root finds the block that a reference names, and that it is here.
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
		return hinted(usagef("%s is a value inside a block, not a block", quote(ref)), "liftoff dag get %s", quote(ref))
	}
	return nil
}
