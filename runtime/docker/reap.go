package docker

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"
)

// The labels of containers.
const (
	labelOwner = "org.ipfs-liftoff.owner"
	labelRun   = "org.ipfs-liftoff.run"
)

// removeTime bounds the removal of a container.
const removeTime = 20 * time.Second

// reap removes all containers of this owner, except those of active runs.
func (e *Engine) reap(ctx context.Context) error {
	list, err := e.docker.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", labelOwner+"="+e.cfg.Owner),
	})
	if err != nil {
		return fmt.Errorf("list containers of earlier runs: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, c := range list.Items {
		e.mu.Lock()
		live := e.live[c.Labels[labelRun]]
		e.mu.Unlock()
		if live {
			continue
		}
		e.cfg.Log.Info("remove container of an earlier run", "container", c.ID, "run", c.Labels[labelRun])
		g.Go(func() error { return e.remove(ctx, c.ID) })
	}
	return g.Wait()
}

// remove stops a container and removes it with all that it has written. It succeeds if the
// container is gone or is being removed.
func (e *Engine) remove(ctx context.Context, id string) error {
	_, err := e.docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !isNotFound(err) && !errdefs.IsConflict(err) { // "removal … is already in progress"
		return fmt.Errorf("remove container: %w", err)
	}
	return nil
}

// removeSoon removes an ended container in the background.
func (e *Engine) removeSoon(id string) {
	e.removals.Go(func() { e.removeNow(id) })
}

// removeNow removes a container even if the run was cancelled.
func (e *Engine) removeNow(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	if err := e.remove(ctx, id); err != nil {
		e.cfg.Log.Warn("remove container, retrying when the engine answers", "container", id, "err", err)
		e.setLeft()
	}
}

func isNotFound(err error) bool { return errdefs.IsNotFound(err) }
