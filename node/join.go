package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// How long Join retries, and how long it waits between two attempts. An owner that is just opening or leaving
// the repo can be neither replaced nor reached.
const (
	joinTime    = 10 * time.Second
	joinWaitMin = time.Millisecond
	joinWaitMax = 50 * time.Millisecond
)

const socketName = "api.sock"

// errUnanswered is the cause that ends a Join.
var errUnanswered = errors.New("the process that holds the repo does not answer")

// Join opens the repo, or attaches to the process that has it open.
//
// The repo's lock elects the owner: the process that gets the lock serves the socket, and closes the socket
// before it releases the lock. A process that gets neither the lock nor an answer has met an owner that is
// starting or leaving, and tries both again.
func Join(ctx context.Context, cfg Config) (*Session, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("join repo: %w", err)
	}
	cfg.Dir = dir
	if cfg.Wait == 0 {
		cfg.Wait = joinTime
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.Wait, errUnanswered)
	defer cancel()
	for wait := joinWaitMin; ; wait = min(2*wait, joinWaitMax) {
		n, err := Open(cfg)
		if err == nil {
			return own(ctx, n, cfg.NoSocket)
		}
		if !errors.Is(err, store.ErrLocked) {
			return nil, apiError(ctx, err)
		}
		c, err := api.Dial(ctx, filepath.Join(dir, socketName))
		if err == nil {
			return attached(c), nil
		}
		if isFinal(err) {
			return nil, apiError(ctx, err)
		}
		// Several processes that wait for the same owner should not retry at the same time.
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil, joinError(ctx, dir, err)
		}
	}
}

// isFinal reports whether a retry cannot help: the owner refused the request, or cannot be asked.
func isFinal(err error) bool {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Code != api.CodeClosing
	}
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, api.ErrSocketPath)
}

// joinError explains why a Join with ctx ended, after its last attempt failed with err.
func joinError(ctx context.Context, dir string, err error) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errUnanswered) {
		return apiError(ctx, cause)
	}
	owner := "another process"
	if pid := holder(filepath.Join(dir, "lock")); pid != 0 {
		owner = fmt.Sprintf("process %d", pid)
	}
	message := fmt.Sprintf("repo %s is in use by %s, which does not answer", dir, owner)
	if !errors.Is(err, errUnanswered) {
		message += fmt.Sprintf(" (%v)", err)
	}
	return &api.Error{
		Code:    api.CodeFault,
		Message: message,
		Hint:    "stop that process or wait until it has ended, then run the command again",
	}
}
