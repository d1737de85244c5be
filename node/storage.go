package node

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// Sources implements api.Storage.
func (v *View) Sources(ctx context.Context) ([]api.Source, error) {
	s := v.node.store
	u, err := s.Stat(ctx)
	if err != nil {
		return nil, apiError(ctx, err)
	}
	all := []api.Source{{Kind: api.SourceRepo, Path: s.Dir(), Blocks: int64(u.Blocks), Bytes: u.Bytes, Disk: u.Disk, Kept: true}}
	for _, a := range s.Attached() {
		all = append(all, source(a))
	}
	return all, nil
}

func source(a store.Attachment) api.Source {
	return api.Source{Kind: a.Kind, State: a.State, Path: a.Path, Roots: a.Roots, Blocks: a.Blocks, Bytes: a.Bytes, Kept: a.Kept}
}

// Attach implements api.Storage.
func (v *View) Attach(ctx context.Context, kind, path string, keep bool) (api.Source, error) {
	if kind != api.SourceCAR && kind != api.SourceDir {
		return api.Source{}, api.Errorf(api.CodeUsage, "kind %q cannot be attached, want \"car\" or \"dir\"", kind)
	}
	a, err := v.node.store.Attach(ctx, kind, path, keep)
	return source(a), apiError(ctx, err)
}

// Detach implements api.Storage.
func (v *View) Detach(ctx context.Context, path string) error {
	found, err := v.node.store.Detach(ctx, path)
	if err == nil && !found {
		return api.Errorf(api.CodeMissing, "%s is not attached", path)
	}
	return apiError(ctx, err)
}

// Migrate implements api.Storage.
func (v *View) Migrate(ctx context.Context) (api.Migrated, error) {
	m, err := v.node.store.Migrate(ctx)
	return api.Migrated(m), apiError(ctx, err)
}

// Coverage implements api.Storage.
func (v *View) Coverage(ctx context.Context, root cid.Cid) (api.Coverage, error) {
	c, err := v.node.store.Coverage(ctx, root)
	return api.Coverage(c), apiError(ctx, err)
}
