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

// cluster returns the repo's cluster state, read on first use.
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
			return nil, fmt.Errorf("read cluster state of this repo: %w", err)
		}
		n.lazy.cluster = f
	}
	return n.lazy.cluster, nil
}

// clusterError converts an error of the cluster into an *api.Error.
func clusterError(ctx context.Context, err error) error {
	var unreached *host.UnreachableError
	var refused *host.RefusedError
	switch {
	case errors.As(err, &unreached):
		return &api.Error{
			Code: api.CodeFault, Message: err.Error(), Hint: "check that `liftoff serve` is running there and that its port is reachable",
		}
	case errors.As(err, &refused):
		return &api.Error{
			Code: api.CodeDenied, Message: err.Error(), Hint: "ask an admin of the cluster for another token: `liftoff cluster invite`",
		}
	case errors.Is(err, cluster.ErrNoCluster):
		return &api.Error{
			Code: api.CodeMissing, Message: err.Error(),
			Hint: "`liftoff cluster init` creates a cluster, `liftoff serve --join TOKEN` joins one",
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
		return api.ClusterInfo{}, api.Errorf(api.CodeConflict, "this repo already belongs to cluster %s", id)
	}
	if err := f.Init(v.node.clock()); err != nil {
		return api.ClusterInfo{}, clusterError(ctx, err)
	}
	return v.Cluster(ctx)
}

// Invite implements api.Cluster. The token is redeemed at this process.
func (v *View) Invite(ctx context.Context, i api.Invitation) (string, error) {
	f, err := v.node.cluster()
	if err != nil {
		return "", apiError(ctx, err)
	}
	w := v.node.net.Load()
	// serve creates a cluster for a repo without one.
	if err := f.CheckAdmin(v.node.clock()); err != nil && (w != nil || !errors.Is(err, cluster.ErrNoCluster)) {
		return "", clusterError(ctx, fmt.Errorf("invite: %w", err))
	}
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

// JoinCluster implements api.Cluster. A process without a network opens one for the call.
func (v *View) JoinCluster(ctx context.Context, token string) (api.ClusterInfo, error) {
	w := v.node.net.Load()
	if w == nil {
		var err error
		if w, err = openNetwork(ctx, v.node, NetworkConfig{NoListen: true, StoreOnly: true}); err != nil {
			return api.ClusterInfo{}, apiError(ctx, err)
		}
		defer w.close() //nolint:errcheck // the result of the join matters
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

// Revoke implements api.Cluster. Connected members receive the revocation at once, others when they connect.
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

// enterCluster redeems the token of the Config. For a repo that is a member already this only makes a
// connection, which can wait until the other node is up.
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
		w.node.log.Warn("dial inviting peer", "peer", t.Peer, "err", err)
		return nil
	}
	return clusterError(ctx, err)
}
