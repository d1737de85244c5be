package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// cluster returns what the repo knows of its cluster, read when somebody asks first.
func (n *Node) cluster() (*cluster.Cluster, error) {
	n.lazy.Lock()
	defer n.lazy.Unlock()
	if n.lazy.cluster == nil {
		id, err := n.self.identity()
		if err != nil {
			return nil, err
		}
		f, err := cluster.Open(n.clusterDir(), id.Key)
		if err != nil {
			return nil, fmt.Errorf("read the cluster: %w", err)
		}
		n.lazy.cluster = f
	}
	return n.lazy.cluster, nil
}

// clusterError turns an error of the cluster into an *api.Error.
func clusterError(ctx context.Context, err error) error {
	var unreached *host.UnreachableError
	var refused *host.RefusedError
	switch {
	case errors.As(err, &unreached):
		return &api.Error{
			Code: api.CodeFault, Message: err.Error(), Hint: "see whether `liftoff serve` runs there and its port can be reached",
		}
	case errors.As(err, &refused):
		return &api.Error{
			Code: api.CodeDenied, Message: err.Error(), Hint: "ask for another invitation: `liftoff cluster invite` prints one there",
		}
	case errors.Is(err, cluster.ErrNoCluster):
		return &api.Error{
			Code: api.CodeMissing, Message: err.Error(),
			Hint: "`liftoff cluster init` makes one, `liftoff serve --join TOKEN` joins one",
		}
	case errors.Is(err, cluster.ErrInvitation), errors.Is(err, cluster.ErrRevoked):
		return api.Errorf(api.CodeDenied, "%v", err)
	}
	return apiError(ctx, err)
}

// Cluster implements api.Cluster.
func (v *View) Cluster(ctx context.Context) (api.ClusterInfo, error) {
	f, err := v.node.cluster()
	if err != nil {
		return api.ClusterInfo{}, apiError(ctx, err)
	}
	if f.ID() == "" {
		return api.ClusterInfo{}, clusterError(ctx, cluster.ErrNoCluster)
	}
	info := api.ClusterInfo{DID: string(f.ID())}
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

// InitCluster implements api.Cluster.
func (v *View) InitCluster(ctx context.Context) (api.ClusterInfo, error) {
	if v.node.store.ReadOnly() {
		return api.ClusterInfo{}, apiError(ctx, &store.ReadOnlyError{Dir: v.node.store.Dir()})
	}
	f, err := v.node.cluster()
	if err != nil {
		return api.ClusterInfo{}, apiError(ctx, err)
	}
	if id := f.ID(); id != "" {
		return api.ClusterInfo{}, api.Errorf(api.CodeUsage, "this repo belongs to the cluster %s already", id)
	}
	if err := f.Init(v.node.clock()); err != nil {
		return api.ClusterInfo{}, clusterError(ctx, err)
	}
	return v.Cluster(ctx)
}

// Invite implements api.Cluster. Others redeem the token at this process.
func (v *View) Invite(ctx context.Context, i api.Invitation) (string, error) {
	w := v.node.net.Load()
	if w == nil {
		return "", offline()
	}
	t, err := w.peer.Invite(cluster.Invitation{Role: job.Role(i.Role), Uses: i.Uses, Expires: i.Valid})
	if err != nil {
		return "", clusterError(ctx, err)
	}
	if len(i.Addrs) > 0 {
		t.Addrs = i.Addrs
	}
	return t.String(), nil
}

// JoinCluster implements api.Cluster. A process without a network has one for this.
func (v *View) JoinCluster(ctx context.Context, token string) (api.ClusterInfo, error) {
	w := v.node.net.Load()
	if w == nil {
		var err error
		if w, err = openNetwork(ctx, v.node, NetworkConfig{NoListen: true, StoreOnly: true}); err != nil {
			return api.ClusterInfo{}, apiError(ctx, err)
		}
		defer w.close() //nolint:errcheck // it has joined, or says why not
	}
	if err := w.join(ctx, token); err != nil {
		return api.ClusterInfo{}, clusterError(ctx, err)
	}
	return v.Cluster(ctx)
}

// Members implements api.Cluster.
func (v *View) Members(ctx context.Context) ([]api.Member, error) {
	f, err := v.node.cluster()
	if err != nil {
		return nil, apiError(ctx, err)
	}
	if f.ID() == "" {
		return nil, clusterError(ctx, cluster.ErrNoCluster)
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

// Revoke implements api.Cluster. Members that are connected hear of it at once, the others
// when they are.
func (v *View) Revoke(ctx context.Context, did string) error {
	d := job.DID(did)
	if _, err := d.Key(); err != nil {
		return api.Errorf(api.CodeUsage, "%v", err)
	}
	if w := v.node.net.Load(); w != nil {
		return clusterError(ctx, w.peer.Revoke(d))
	}
	f, err := v.node.cluster()
	if err == nil {
		_, err = f.Revoke(d, v.node.clock())
	}
	return clusterError(ctx, err)
}

// enterCluster redeems the Config's token. Of a repo that is a member already it only makes
// it connect, and that can wait until the other end is up.
func (w *network) enterCluster(ctx context.Context) error {
	if w.cfg.Join == "" {
		return nil
	}
	t, err := cluster.ParseToken(w.cfg.Join)
	if err != nil {
		return api.Errorf(api.CodeUsage, "%v", err)
	}
	member := false
	if w.peer.Cluster().ID() == t.Cluster {
		_, err := w.peer.Cluster().Check(w.self.DID, w.node.clock())
		member = err == nil
	}
	err = w.peer.Join(ctx, t)
	if err != nil && member && ctx.Err() == nil {
		w.node.log.Warn("who invited this peer is not reached", "peer", t.Peer, "err", err)
		return nil
	}
	return clusterError(ctx, err)
}
