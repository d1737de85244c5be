package node

import (
	"context"
	"sync"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// self is the node's identity and its trusted keys, read from the repo on first use.
type self struct {
	store *store.Store

	mu    sync.Mutex
	id    host.Identity // without a key: not read yet
	trust *host.Trust   // nil: not read yet
}

func (s *self) identity() (host.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id.Key == nil {
		id, err := host.LoadIdentity(s.store.Dir())
		if err != nil {
			return host.Identity{}, err
		}
		s.id = id
	}
	return s.id, nil
}

func (s *self) did() (job.DID, error) {
	if s.store.ReadOnly() { // it may have no identity, and cannot create one
		id, _ := s.identity()
		return id.DID, nil
	}
	id, err := s.identity()
	return id.DID, err
}

func (s *self) trusted() (*host.Trust, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trust == nil {
		t, err := host.OpenTrust(s.store.Dir())
		if err != nil {
			return nil, err
		}
		s.trust = t
	}
	return s.trust, nil
}

// Identity implements api.Identity.
func (v *View) Identity(ctx context.Context) (api.ID, error) {
	id, err := v.node.self.identity()
	return api.ID{PeerID: id.PeerID, DID: string(id.DID)}, apiError(ctx, err)
}

// Trust implements api.Trust. Receipts of the key that are in this repo are added to the result cache.
func (v *View) Trust(ctx context.Context, did, note string) error {
	n := v.node
	if n.store.ReadOnly() {
		return apiError(ctx, &store.ReadOnlyError{Dir: n.store.Dir()})
	}
	d := job.DID(did)
	if _, err := d.Key(); err != nil {
		return api.Errorf(api.CodeUsage, "%v", err)
	}
	if len(note) > host.MaxNote {
		return api.Errorf(api.CodeUsage, "note of a trusted key: got %d bytes, want at most %d", len(note), host.MaxNote)
	}
	trust, err := n.self.trusted()
	if err == nil {
		err = trust.Add(host.TrustedKey{DID: d, Note: note, Added: n.clock().UTC()})
	}
	if err != nil {
		return apiError(ctx, err)
	}
	all, err := n.receipts(ctx, "")
	if err != nil {
		return apiError(ctx, err)
	}
	var b store.Batch
	for _, r := range all {
		if r.Issuer != d || r.Replayed {
			continue
		}
		if b.Records, err = n.cacheTrusted(b.Records, r.CID, r.Issuer, r.Task, r.Outcome); err != nil {
			return apiError(ctx, err)
		}
	}
	return apiError(ctx, n.store.Commit(ctx, b))
}

// Distrust implements api.Trust. Cached results of the key are dropped, unless it is the repo's own.
func (v *View) Distrust(ctx context.Context, did string) error {
	n := v.node
	if n.store.ReadOnly() {
		return apiError(ctx, &store.ReadOnlyError{Dir: n.store.Dir()})
	}
	trust, err := n.self.trusted()
	if err != nil {
		return apiError(ctx, err)
	}
	found, err := trust.Remove(job.DID(did))
	if err != nil {
		return apiError(ctx, err)
	}
	if !found {
		return api.Errorf(api.CodeMissing, "key %s is not trusted", did)
	}
	self, err := n.self.did()
	if err != nil || self == job.DID(did) {
		return apiError(ctx, err)
	}
	return apiError(ctx, n.dropCachedResults(ctx, func(m cachedResult) bool { return m.Issuer == job.DID(did) }))
}

// Trusted implements api.Trust.
func (v *View) Trusted(ctx context.Context) ([]api.TrustedKey, error) {
	trust, err := v.node.self.trusted()
	if err != nil {
		return nil, apiError(ctx, err)
	}
	var all []api.TrustedKey
	for _, k := range trust.List() {
		all = append(all, api.TrustedKey{DID: string(k.DID), Note: k.Note, Added: k.Added})
	}
	return all, nil
}
