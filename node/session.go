// Package node builds a working peer from its parts: it opens the repo, runs jobs on the executors, caches their
// results, and offers all of it through the interfaces of node/api, to this process and to others that share the
// repo.
//
// One process at a time owns a repo, and any process can be the owner: [Join] decides. The owner serves the API
// on a socket in the repo until the attached processes are gone, and keeps all state that is not on disk; an
// attached process keeps none, so that the end of either leaves the repo consistent.
//
// [Node.Serve] makes the owner a long-running node. With a [NetworkConfig] it has two roles in the market: as a
// requester (placement.go, receive.go, node/request) it finds the best peer for a job of its own, as a provider
// (provide.go, award.go) it prices and runs the jobs of others. Both use one evaluation of a Task (evaluate.go)
// and one queue of slots (admission.go).
package node

import (
	"context"
	"errors"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// Session is one command's view of a repo: its own node when this process is the first to open it, the owner's
// socket otherwise. Blocks that a session has put or is reading are kept from collection until Close.
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

	node   *Node              // nil: another process owns the repo
	remote *cachedBlocks      // nil: the repo is on this machine
	stay   context.Context    // ends when Close must not wait any longer
	abort  context.CancelFunc // ends stay
	leave  func(stay context.Context) error
	once   sync.Once
	err    error
}

// Serve is [Node.Serve] of the owner: until ctx ends, submitted jobs run without their clients. In an attached
// process it returns an error.
func (s *Session) Serve(ctx context.Context) error {
	if s.node == nil {
		return api.Errorf(api.CodeConflict, "the repo is in use by another process")
	}
	return s.node.Serve(ctx)
}

// Room returns nil while the disk of the owner's repo has space for the result of a job, else an error that says
// that the disk is full.
func (s *Session) Room() error {
	if s.node == nil {
		return nil
	}
	return s.node.room()
}

// Close leaves the repo. An owner first waits until the attached commands are done, so a command that feeds
// another one must close its stdout before it calls Close.
func (s *Session) Close() error {
	s.once.Do(func() {
		s.err = s.leave(s.stay)
		s.abort()
	})
	return s.err
}

// Abort leaves the repo at once: running jobs are cancelled and attached commands fail. It may be called while
// Close waits, which then returns.
func (s *Session) Abort() error {
	s.abort()
	return s.Close()
}

// Fetching returns the blocks of the session for reading blocks that the repo may lack: the node requests each
// missing block from its peers.
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
