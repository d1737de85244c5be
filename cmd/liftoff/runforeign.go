//go:build !windows

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// foreignRef matches a module for a plugin: docker://alpine, sql://query.sql.
var foreignRef = regexp.MustCompile(`^([a-z0-9_]{1,32})://(.*)$`)

// foreign splits a module for a plugin. ok is false for any other reference, as ipfs://CID.
func foreign(ref string) (abi, rest string, ok bool) {
	m := foreignRef.FindStringSubmatch(ref)
	if m == nil || m[1] == "ipfs" {
		return "", "", false
	}
	if m[1] == job.ABIDocker {
		return job.ABIDocker, m[2], true
	}
	return job.ABIPlugin + m[1], m[2], true
}

// foreignModule makes a task for a plugin. A plugin is not deterministic: two runs may
// differ, so that each task has a nonce.
func (b *taskBuilder) foreignModule(ctx context.Context, abi, ref string, t *job.Task) (err error) {
	t.ABI, t.Fn, t.Det = abi, job.FnRun, job.DetNone
	if len(t.Nonce) == 0 {
		t.Nonce = newNonce()
	}
	if abi == job.ABIDocker && !isContent(ref) {
		t.Mod, err = b.image(ctx, ref)
		return err
	}
	t.Mod, err = b.content(ctx, ref)
	return err
}

// isContent reports whether ref, which follows docker://, is an image archive: a path that
// begins with a dot or a slash, or a CID.
func isContent(ref string) bool {
	if strings.HasPrefix(ref, ".") || filepath.IsAbs(ref) {
		return true
	}
	first, _, _ := strings.Cut(ref, "/")
	_, err := cid.Decode(first)
	return err == nil
}

// image stores the reference of an image, with the digest that it has now, as a block.
func (b *taskBuilder) image(ctx context.Context, ref string) (cid.Cid, error) {
	digest, err := b.session.Plugins.ResolveImage(ctx, job.ABIDocker, ref)
	if err != nil {
		return cid.Undef, err
	}
	code, err := job.Image{Ref: ref, Digest: digest}.Encode()
	if err != nil {
		return cid.Undef, fmt.Errorf("plugin docker: %w", err)
	}
	block := dag.NewBlock(cid.DagCBOR, code)
	if err := b.blocks.Put(ctx, block); err != nil {
		return cid.Undef, err
	}
	return b.keep(block.CID()), nil
}
