// Package node joins the parts into a working peer: it opens the repo, runs jobs on
// the executors, remembers them, and offers all of it through the interfaces of
// node/api, to this process and to others that share the repo.
package node

import (
	"context"
	"errors"
	"log/slog"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// Config says how to join a repo. Its zero fields are the defaults.
type Config struct {
	Dir string       // the repo; made if it is not there
	Log *slog.Logger // nil: nothing is logged
}

// Session is one command's view of a repo: its own when this process is the first to
// open it, through the owner's socket otherwise. What a session has put or is reading
// is safe from collection until Close.
type Session struct {
	Blocks dag.Blocks
	Data   api.Data
	Pins   api.Pins
	Upkeep api.Upkeep
	Jobs   api.Jobs
	Owner  bool // this process owns the repo
}

// Join opens the repo, or attaches to the process that has it open.
func Join(ctx context.Context, cfg Config) (*Session, error) {
	return nil, errors.New("join: under construction")
}

// Close leaves the repo. An owner first waits until the commands attached to it are
// done, so a command that feeds another one closes its stdout before it calls Close.
func (s *Session) Close() error { return nil }

// Abort leaves the repo at once: what runs is cancelled and attached commands fail.
// It may be called while Close waits, which then returns.
func (s *Session) Abort() error { return nil }
