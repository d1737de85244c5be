package node

import (
	"context"
	"errors"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// roomEvery is how often a process that stays looks for room, and says so when there is none any more, or again.
const roomEvery = 10 * time.Second

// room returns nil while the disk has room for what a job leaves, and a *store.FullError when it has not. A node that
// has found its disk full looks again each time, so that jobs are taken as soon as there is room.
func (n *Node) room() error {
	if !n.store.IsFull() {
		return nil
	}
	return n.findRoom()
}

// findRoom looks for room, and logs when that has changed.
func (n *Node) findRoom() error {
	err := n.store.Room()
	var full *store.FullError
	isFull := errors.As(err, &full)
	if n.full.Swap(isFull) != isFull {
		if isFull {
			n.log.Warn("the disk is full: no jobs are taken", "repo", n.store.Dir(), "err", full.Err, "hint", hintFull)
		} else {
			n.log.Info("the disk has room again: jobs are taken", "repo", n.store.Dir())
		}
	}
	if isFull {
		return full
	}
	return nil
}

// watchRoom looks for room now and then until ctx ends.
func (n *Node) watchRoom(ctx context.Context) error {
	t := time.NewTicker(roomEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			_ = n.findRoom() // which logs it
		case <-ctx.Done():
			return nil
		}
	}
}

// awaitRoom calls fn, and on a full disk calls it again when there is room: a process that stays is there for who
// makes it.
func (n *Node) awaitRoom(ctx context.Context, fn func() error) error {
	for {
		err := fn()
		if !diskfs.Full(err) {
			return err
		}
		n.log.Warn("the disk is full: the network waits", "err", err, "hint", hintFull)
		for t := time.NewTicker(roomEvery / 10); ; {
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return context.Cause(ctx)
			}
			if n.findRoom() == nil {
				t.Stop()
				break
			}
		}
	}
}
