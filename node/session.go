// Package node joins the parts into a working peer: it opens the repo, runs jobs on
// the executors, remembers them, and offers all of it through the interfaces of
// node/api, to this process and to others that share the repo.
//
// One process at a time owns a repo, and every process can be the one: [Join] decides.
// The owner serves the API on a socket in the repo until the processes attached to it
// are gone, and keeps all state that is not on disk; an attached process keeps none,
// so the end of either leaves the repo as whole as it was.
//
// [Node.Serve] makes an owner that stays. With a [NetworkConfig] it plays two roles in
// the market: as a requester (errand.go, receive.go, node/request) it finds out where a
// job of its own runs best, as a provider (provide.go, award.go) it prices and runs those
// of others. Both use one evaluation of a Task (evaluate.go) and one book of slots
// (book.go).
package node

import (
	"context"
	"errors"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// Session is one command's view of a repo: its own when this process is the first to
// open it, through the owner's socket otherwise. What a session has put or is reading
// is safe from collection until Close.
type Session struct {
	Blocks      dag.Blocks
	Data        api.Data
	Pins        api.Pins
	Maintenance api.Maintenance
	Jobs        api.Jobs
	Receipts    api.Receipts
	Cache       api.Cache
	Trust       api.Trust
	Identity    api.Identity
	Peers       api.Peers
	Cluster     api.Cluster
	Publishing  api.Publishing
	Storage     api.Storage
	Plugins     api.Plugins
	Owner       bool // this process owns the repo

	node  *Node              // nil: another process's
	far   *farBlocks         // nil: the repo is on this machine
	stay  context.Context    // ends when the session must not wait any more
	abort context.CancelFunc // ends stay
	leave func(stay context.Context) error
	once  sync.Once
	err   error
}

// Serve is [Node.Serve] of the owner: until ctx ends, jobs go on without their clients.
// In an attached process it is an error.
func (s *Session) Serve(ctx context.Context) error {
	if s.node == nil {
		return api.Errorf(api.CodeUsage, "another process has the repo")
	}
	return s.node.Serve(ctx)
}

// Room returns nil while the disk of the owner's repo has room for what a job leaves, else an error that says that it is
// full.
func (s *Session) Room() error {
	if s.node == nil {
		return nil
	}
	return s.node.room()
}

// Close leaves the repo. An owner first waits until the commands attached to it are
// done, so a command that feeds another one closes its stdout before it calls Close.
func (s *Session) Close() error {
	s.once.Do(func() {
		s.err = s.leave(s.stay)
		s.abort()
	})
	return s.err
}

// Abort leaves the repo at once: what runs is cancelled and attached commands fail.
// It may be called while Close waits, which then returns.
func (s *Session) Abort() error {
	s.abort()
	return s.Close()
}

// Fetching returns the blocks of the session for one who is about to read some that may
// not be here: then the node asks its peers for each.
func (s *Session) Fetching() dag.Blocks { return fetching{s.Blocks, s.Data} }

type fetching struct {
	dag.Blocks
	data api.Data
}

func (f fetching) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	b, err := f.Blocks.Get(ctx, c)
	var missing *dag.NotFoundError
	if !errors.As(err, &missing) {
		return b, err
	}
	var e *api.Error
	if ferr := f.data.Fetch(ctx, c); errors.As(ferr, &e) && e.Code == api.CodeMissing {
		return dag.Block{}, err
	} else if ferr != nil {
		return dag.Block{}, ferr
	}
	return f.Blocks.Get(ctx, c)
}

func newSession(g api.Backend, blocks dag.Blocks, leave func(context.Context) error) *Session {
	stay, abort := context.WithCancel(context.Background())
	return &Session{
		Blocks: blocks, Data: g, Pins: g, Maintenance: g, Jobs: g,
		Receipts: g, Cache: g, Trust: g, Identity: g, Peers: g, Cluster: g, Publishing: g, Storage: g, Plugins: g,
		stay: stay, abort: abort, leave: leave,
	}
}
