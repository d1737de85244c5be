package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/fence"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// fence returns what the repo knows of its fence, read when somebody asks first.
func (n *Node) fence() (*fence.Fence, error) {
	n.lazy.Lock()
	defer n.lazy.Unlock()
	if n.lazy.fence == nil {
		id, err := n.self.identity()
		if err != nil {
			return nil, err
		}
		f, err := fence.Open(n.fenceDir(), id.Key)
		if err != nil {
			return nil, fmt.Errorf("read the fence: %w", err)
		}
		n.lazy.fence = f
	}
	return n.lazy.fence, nil
}

// fenceError turns an error of the fence into an *api.Error.
func fenceError(ctx context.Context, err error) error {
	var unreached *host.UnreachedError
	var refused *host.RefusedError
	switch {
	case errors.As(err, &unreached):
		return &api.Error{
			Code: api.CodeFault, Message: err.Error(), Hint: "see whether `liftoff serve` runs there and its port can be reached",
		}
	case errors.As(err, &refused):
		return &api.Error{
			Code: api.CodeDenied, Message: err.Error(), Hint: "ask for another invitation: `liftoff fence invite` prints one there",
		}
	case errors.Is(err, fence.ErrNoFence):
		return &api.Error{
			Code: api.CodeMissing, Message: err.Error(),
			Hint: "`liftoff fence init` makes one, `liftoff serve --join TOKEN` joins one",
		}
	case errors.Is(err, fence.ErrInvitation), errors.Is(err, fence.ErrRevoked):
		return api.Errorf(api.CodeDenied, "%v", err)
	}
	return apiError(ctx, err)
}

// Fence implements api.Fence.
func (v *View) Fence(ctx context.Context) (api.FenceInfo, error) {
	f, err := v.node.fence()
	if err != nil {
		return api.FenceInfo{}, apiError(ctx, err)
	}
	if f.ID() == "" {
		return api.FenceInfo{}, fenceError(ctx, fence.ErrNoFence)
	}
	info := api.FenceInfo{DID: string(f.ID())}
	id, err := v.node.self.identity()
	if err != nil {
		return info, apiError(ctx, err)
	}
	for _, m := range f.Members(v.node.clock()) {
		if m.DID == id.DID {
			info.Role, info.Expires = string(m.Role), m.Expires
		}
	}
	return info, nil
}

// InitFence implements api.Fence.
func (v *View) InitFence(ctx context.Context) (api.FenceInfo, error) {
	if v.node.store.ReadOnly() {
		return api.FenceInfo{}, apiError(ctx, &store.ReadOnlyError{Dir: v.node.store.Dir()})
	}
	f, err := v.node.fence()
	if err != nil {
		return api.FenceInfo{}, apiError(ctx, err)
	}
	if id := f.ID(); id != "" {
		return api.FenceInfo{}, api.Errorf(api.CodeUsage, "this repo belongs to the fence %s already", id)
	}
	if err := f.Init(v.node.clock()); err != nil {
		return api.FenceInfo{}, fenceError(ctx, err)
	}
	return v.Fence(ctx)
}

// Invite implements api.Fence. Others redeem the token at this process.
func (v *View) Invite(ctx context.Context, i api.Invitation) (string, error) {
	w := v.node.net.Load()
	if w == nil {
		return "", offline()
	}
	t, err := w.peer.Invite(fence.Invitation{Role: job.Role(i.Role), Uses: i.Uses, Expires: i.Valid})
	if err != nil {
		return "", fenceError(ctx, err)
	}
	if len(i.Addrs) > 0 {
		t.Addrs = i.Addrs
	}
	return t.String(), nil
}

// JoinFence implements api.Fence. A process without a network has one for this.
func (v *View) JoinFence(ctx context.Context, token string) (api.FenceInfo, error) {
	w := v.node.net.Load()
	if w == nil {
		var err error
		if w, err = openNetwork(ctx, v.node, NetworkConfig{NoListen: true, StoreOnly: true}); err != nil {
			return api.FenceInfo{}, apiError(ctx, err)
		}
		defer w.close() //nolint:errcheck // it has joined, or says why not
	}
	if err := w.join(ctx, token); err != nil {
		return api.FenceInfo{}, fenceError(ctx, err)
	}
	return v.Fence(ctx)
}

// Members implements api.Fence.
func (v *View) Members(ctx context.Context) ([]api.Member, error) {
	f, err := v.node.fence()
	if err != nil {
		return nil, apiError(ctx, err)
	}
	if f.ID() == "" {
		return nil, fenceError(ctx, fence.ErrNoFence)
	}
	id, err := v.node.self.identity()
	if err != nil {
		return nil, apiError(ctx, err)
	}
	var all []api.Member
	for _, m := range f.Members(v.node.clock()) {
		all = append(all, api.Member{
			DID: string(m.DID), Role: string(m.Role), Issued: m.Issued, Expires: m.Expires,
			Revoked: m.Why != "", Self: m.DID == id.DID,
		})
	}
	return all, nil
}

// Revoke implements api.Fence. Members that are connected hear of it at once, the others
// when they are.
func (v *View) Revoke(ctx context.Context, did string) error {
	d := job.DID(did)
	if _, err := d.Key(); err != nil {
		return api.Errorf(api.CodeUsage, "%v", err)
	}
	if w := v.node.net.Load(); w != nil {
		return fenceError(ctx, w.peer.Revoke(d))
	}
	f, err := v.node.fence()
	if err == nil {
		_, err = f.Revoke(d, v.node.clock())
	}
	return fenceError(ctx, err)
}

// enterFence redeems the Config's token. Of a repo that is a member already it only makes
// it connect, and that can wait until the other end is up.
func (w *network) enterFence(ctx context.Context) error {
	if w.cfg.Join == "" {
		return nil
	}
	t, err := fence.ParseToken(w.cfg.Join)
	if err != nil {
		return api.Errorf(api.CodeUsage, "%v", err)
	}
	member := false
	if w.peer.Fence().ID() == t.Fence {
		_, err := w.peer.Fence().Check(w.self.DID, w.node.clock())
		member = err == nil
	}
	err = w.peer.Join(ctx, t)
	if err != nil && member && ctx.Err() == nil {
		w.node.log.Warn("who invited this peer is not reached", "peer", t.Peer, "error", err)
		return nil
	}
	return fenceError(ctx, err)
}
