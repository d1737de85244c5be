package node

import (
	"context"
	goruntime "runtime"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// View is one client's view of the node: blocks that it puts or reads are kept until Close. Every error of its
// methods is an *api.Error.
type View struct {
	node    *Node
	session *store.Session
}

var _ api.Backend = (*View)(nil)

// Close ends the protection of the view's blocks from collection.
func (v *View) Close() error {
	v.session.End()
	return nil
}

// Get implements api.Data.
func (v *View) Get(ctx context.Context, c cid.Cid) ([]byte, error) {
	b, err := v.session.Get(ctx, c)
	if err != nil {
		return nil, apiError(ctx, err)
	}
	return b.Data(), nil
}

// Has implements api.Data.
func (v *View) Has(ctx context.Context, c cid.Cid) (bool, error) {
	has, err := v.session.Has(ctx, c)
	return has, apiError(ctx, err)
}

// Put implements api.Data. Blocks are hashed on all processors.
func (v *View) Put(ctx context.Context, bs ...api.Block) error {
	checked := make([]dag.Block, len(bs))
	var g errgroup.Group
	g.SetLimit(goruntime.GOMAXPROCS(0))
	for i, b := range bs {
		g.Go(func() (err error) {
			checked[i], err = dag.CheckBlock(b.CID, b.Data)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return api.Errorf(api.CodeUsage, "put blocks: %v", err)
	}
	return apiError(ctx, v.session.Put(ctx, checked...))
}

// Sync implements api.Data.
func (v *View) Sync(ctx context.Context) error { return apiError(ctx, v.node.store.Sync(ctx)) }

// Pin implements api.Pins.
func (v *View) Pin(ctx context.Context, p api.Pin) error {
	sp := store.Pin{Name: p.Name, Created: p.Created, Expires: p.Expires, Rest: p.Rest, Opaque: p.Opaque, Roots: make([]store.Root, len(p.Roots))}
	for i, r := range p.Roots {
		if !r.CID.Defined() {
			return api.Errorf(api.CodeUsage, "pin %q has a root without a CID", p.Name)
		}
		sp.Roots[i] = store.Root(r)
	}
	for _, c := range p.Rest {
		if !c.Defined() {
			return api.Errorf(api.CodeUsage, "pin %q has an entry in rest without a CID", p.Name)
		}
	}
	if len(p.Roots) == 0 || p.Name == "" || len(p.Name) > store.MaxPinName {
		return api.Errorf(api.CodeUsage, "a pin needs a root and a name of 1 to %d bytes", store.MaxPinName)
	}
	return apiError(ctx, v.node.store.AddPin(ctx, sp))
}

// Unpin implements api.Pins.
func (v *View) Unpin(ctx context.Context, name string) error {
	return apiError(ctx, v.node.store.RemovePin(name))
}

// Pins implements api.Pins.
func (v *View) Pins(ctx context.Context) ([]api.Pin, error) {
	sps, err := v.node.store.Pins()
	if err != nil {
		return nil, apiError(ctx, err)
	}
	pins := make([]api.Pin, len(sps))
	for i, p := range sps {
		pins[i] = apiPin(p)
	}
	return pins, nil
}

// FindPin implements api.Pins.
func (v *View) FindPin(ctx context.Context, name string) (api.Pin, error) {
	p, err := v.node.store.Pin(name)
	if err != nil {
		return api.Pin{}, apiError(ctx, err)
	}
	return apiPin(p), nil
}

func apiPin(p store.Pin) api.Pin {
	ap := api.Pin{Name: p.Name, Created: p.Created, Expires: p.Expires, Rest: p.Rest, Opaque: p.Opaque, Roots: make([]api.Root, len(p.Roots))}
	for i, r := range p.Roots {
		ap.Roots[i] = api.Root(r)
	}
	return ap
}

// Collect implements api.Maintenance. Cached results and receipts whose blocks are gone are dropped.
func (v *View) Collect(ctx context.Context) (api.Collected, error) {
	c, err := v.node.store.Collect(ctx, v.node.clock())
	if err == nil {
		err = v.node.dropOrphans(ctx)
	}
	if w := v.node.net.Load(); w != nil && err == nil {
		w.quota.collected()
	}
	return api.Collected{
		Removed: c.Removed, RemovedBytes: c.RemovedBytes, Kept: c.Kept, KeptBytes: c.KeptBytes,
	}, apiError(ctx, err)
}

// Check implements api.Maintenance. Files that do not belong to the repo count as damaged.
func (v *View) Check(ctx context.Context, damaged func(api.Damage)) (api.Checked, error) {
	sum, err := v.node.store.Check(ctx, func(d store.Damage) {
		if damaged == nil {
			return
		}
		ad := api.Damage{Where: d.Where, Err: d.Err.Error()}
		if d.CID.Defined() {
			ad.CID = d.CID.String()
		}
		damaged(ad)
	})
	return api.Checked{Blocks: sum.Blocks, Bytes: sum.Bytes, Damaged: sum.Damaged + sum.Foreign}, apiError(ctx, err)
}

// List implements api.Jobs.
func (v *View) List(ctx context.Context) ([]api.Job, error) {
	jobs, err := v.node.history.list(ctx)
	for i := range jobs {
		jobs[i].Events, jobs[i].Placement = nil, nil
	}
	return jobs, apiError(ctx, err)
}

// Find implements api.Jobs.
func (v *View) Find(ctx context.Context, prefix string) (api.Job, error) {
	j, err := v.node.history.find(ctx, prefix)
	return j, apiError(ctx, err)
}
