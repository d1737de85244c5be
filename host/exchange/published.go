package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// PublishedRoot is a root that listed peers may have, with all blocks below it.
type PublishedRoot struct {
	CID   cid.Cid   `json:"cid"`
	Added time.Time `json:"added"`
}

// Published is the set of published roots of a repo, stored as its records. Its methods may be called concurrently.
type Published struct {
	store *store.Store
	below *reach

	mu    sync.Mutex // held while the roots and their records change
	roots map[cid.Cid]PublishedRoot
}

const publishedPrefix = "published/"

// OpenPublished reads the published roots of s. The blocks below them are found at the first query.
func OpenPublished(ctx context.Context, s *store.Store) (*Published, error) {
	p := &Published{store: s, roots: map[cid.Cid]PublishedRoot{}}
	err := s.Records(ctx, publishedPrefix, func(name string, value func() ([]byte, error)) error {
		b, err := value()
		if err != nil || b == nil {
			return err
		}
		var r PublishedRoot
		if err := json.Unmarshal(b, &r); err != nil || !r.CID.Defined() {
			return fmt.Errorf("repo record %q is not a published root", name)
		}
		p.roots[r.CID] = r
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read published roots: %w", err)
	}
	p.below = newReach(maxPublished, p.cids()...)
	return p, nil
}

func (p *Published) cids() []cid.Cid {
	var all []cid.Cid
	for c := range p.roots {
		all = append(all, c)
	}
	return all
}

// Publish lets listed peers have root and all blocks below it, also blocks that arrive later. A published root keeps
// its time. Publish does not pin.
func (p *Published) Publish(ctx context.Context, root cid.Cid, now time.Time) error {
	if !root.Defined() {
		return fmt.Errorf("publish: no root CID")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.roots[root]; ok {
		return nil
	}
	if err := p.below.add(ctx, p.store, root); err != nil {
		return p.restore(fmt.Errorf("publish %s: %w", root, err))
	}
	r := PublishedRoot{root, now.UTC()}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := p.store.Commit(ctx, store.Batch{Records: []store.Record{{Name: recordOf(root), Value: b}}}); err != nil {
		return p.restore(fmt.Errorf("publish %s: %w", root, err))
	}
	p.roots[root] = r
	return nil
}

// restore removes what a failed Publish has added.
func (p *Published) restore(err error) error {
	// It runs without a deadline: a concurrent query ends by itself.
	p.below.set(context.Background(), p.cids())
	return err
}

// Unpublish ends the publication of root, and reports whether root was published. Blocks that are also below another
// published root stay published.
func (p *Published) Unpublish(ctx context.Context, root cid.Cid) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.roots[root]
	if !ok {
		return false, nil
	}
	delete(p.roots, root)
	if err := p.below.set(ctx, p.cids()); err != nil {
		p.roots[root] = r
		return false, err
	}
	err := p.store.Commit(ctx, store.Batch{Records: []store.Record{{Name: recordOf(root), Delete: true}}})
	if err != nil {
		return true, fmt.Errorf("unpublish %s: it is not served now, but will be after a restart: %w", root, err)
	}
	return true, nil
}

// List returns the published roots, the oldest first.
func (p *Published) List() []PublishedRoot {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []PublishedRoot
	for _, r := range p.roots {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b PublishedRoot) int {
		if n := a.Added.Compare(b.Added); n != 0 {
			return n
		}
		return slices.Compare(a.CID.Bytes(), b.CID.Bytes())
	})
	return all
}

func recordOf(root cid.Cid) string { return publishedPrefix + root.String() }

// reaches reports whether c is published.
func (p *Published) reaches(ctx context.Context, bs dag.Blocks, c cid.Cid) bool {
	return p != nil && p.below.has(ctx, bs, c)
}
