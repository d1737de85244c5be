package node

import (
	"context"
	"errors"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// roomEvery is how often a serving node checks for free disk space, and logs when the disk becomes full or has
// space again.
const roomEvery = 10 * time.Second

// room returns nil while the disk has space for the result of a job, else a *store.FullError. A node whose disk
// was full checks again on each call, so that jobs are accepted as soon as there is space.
func (n *Node) room() error {
	if !n.store.IsFull() {
		return nil
	}
	return n.checkRoom()
}

// findRoom checks for free disk space, and logs a change.
func (n *Node) checkRoom() error {
	err := n.store.Room()
	var full *store.FullError
	isFull := errors.As(err, &full)
	if n.full.Swap(isFull) != isFull {
		if isFull {
			n.log.Warn("disk full: no jobs are accepted", "repo", n.store.Dir(), "err", full.Err, "hint", hintFull)
		} else {
			n.log.Info("disk space available: jobs are accepted", "repo", n.store.Dir())
		}
	}
	if isFull {
		return full
	}
	return nil
}

// watchRoom checks for free disk space every roomEvery until ctx ends.
func (n *Node) watchRoom(ctx context.Context) error {
	t := time.NewTicker(roomEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			_ = n.checkRoom() // logs a change
		case <-ctx.Done():
			return nil
		}
	}
}

// awaitRoom calls fn. If the disk is full it waits for free space and calls fn again, so that a serving node
// stays reachable for the commands that free space.
func (n *Node) awaitRoom(ctx context.Context, fn func() error) error {
	for {
		err := fn()
		if !diskfs.Full(err) {
			return err
		}
		n.log.Warn("disk full: the network is not started", "err", err, "hint", hintFull)
		for t := time.NewTicker(roomEvery / 10); ; {
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return context.Cause(ctx)
			}
			if n.checkRoom() == nil {
				t.Stop()
				break
			}
		}
	}
}
