package node

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

// offline is what a node without a network answers.
func offline() error {
	return &api.Error{
		Code: api.CodeUsage, Message: "this process has no network",
		Hint: "`liftoff serve` makes this repo a peer",
	}
}

// Self implements api.Peers.
func (v *View) Self(context.Context) (api.Peer, error) { return api.Peer{}, offline() }

// Peers implements api.Peers.
func (v *View) Peers(context.Context) ([]api.Peer, error) { return nil, offline() }

// Connect implements api.Peers.
func (v *View) Connect(context.Context, string) (api.Peer, error) { return api.Peer{}, offline() }

// Fence implements api.Fence.
func (v *View) Fence(context.Context) (api.FenceInfo, error) { return api.FenceInfo{}, offline() }

// InitFence implements api.Fence.
func (v *View) InitFence(context.Context) (api.FenceInfo, error) { return api.FenceInfo{}, offline() }

// Invite implements api.Fence.
func (v *View) Invite(context.Context, api.Invitation) (string, error) { return "", offline() }

// JoinFence implements api.Fence.
func (v *View) JoinFence(context.Context, string) (api.FenceInfo, error) {
	return api.FenceInfo{}, offline()
}

// Members implements api.Fence.
func (v *View) Members(context.Context) ([]api.Member, error) { return nil, offline() }

// Revoke implements api.Fence.
func (v *View) Revoke(context.Context, string) error { return offline() }

// Publish implements api.Publishing.
func (v *View) Publish(context.Context, cid.Cid) error { return offline() }

// Unpublish implements api.Publishing.
func (v *View) Unpublish(context.Context, cid.Cid) error { return offline() }

// Published implements api.Publishing.
func (v *View) Published(context.Context) ([]api.Publication, error) { return nil, offline() }
