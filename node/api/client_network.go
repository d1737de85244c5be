package api

import (
	"context"

	"github.com/ipfs/go-cid"
)

func (c *Client) Self(ctx context.Context) (p Peer, err error) {
	err = c.ask(ctx, "GET", "/v1/self", nil, &p)
	return p, err
}

func (c *Client) Peers(ctx context.Context) ([]Peer, error) { return items[Peer](ctx, c, "/v1/peers") }

func (c *Client) Connect(ctx context.Context, addr string) (p Peer, err error) {
	err = c.ask(ctx, "POST", "/v1/peers", addr, &p)
	return p, err
}

func (c *Client) Cluster(ctx context.Context) (f ClusterInfo, err error) {
	err = c.ask(ctx, "GET", "/v1/cluster", nil, &f)
	return f, err
}

func (c *Client) InitCluster(ctx context.Context) (f ClusterInfo, err error) {
	err = c.ask(ctx, "POST", "/v1/cluster", nil, &f)
	return f, err
}

func (c *Client) Invite(ctx context.Context, i Invitation) (token string, err error) {
	err = c.ask(ctx, "POST", "/v1/cluster/invite", i, &token)
	return token, err
}

func (c *Client) JoinCluster(ctx context.Context, token string) (f ClusterInfo, err error) {
	err = c.ask(ctx, "POST", "/v1/cluster/join", token, &f)
	return f, err
}

func (c *Client) Members(ctx context.Context) ([]Member, error) {
	return items[Member](ctx, c, "/v1/cluster/members")
}

func (c *Client) Revoke(ctx context.Context, did string) error {
	return c.ask(ctx, "DELETE", "/v1/cluster/members", did, nil)
}

func (c *Client) Publish(ctx context.Context, root cid.Cid) error {
	return c.ask(ctx, "PUT", "/v1/published", link(root), nil)
}

func (c *Client) Unpublish(ctx context.Context, root cid.Cid) error {
	return c.ask(ctx, "DELETE", "/v1/published", link(root), nil)
}

func (c *Client) Published(ctx context.Context) ([]Publication, error) {
	return items[Publication](ctx, c, "/v1/published")
}
