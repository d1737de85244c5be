package node

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// owner is a node and the socket on which it serves other processes.
type owner struct {
	node    *Node
	handler *api.Handler
	server  *http.Server
	socket  net.Listener
	group   errgroup.Group // serves the socket
}

// own begins a session of the process that owns the repo.
func own(ctx context.Context, n *Node, noSocket bool) (*Session, error) {
	o := &owner{node: n}
	if !n.store.ReadOnly() && !noSocket {
		if err := o.serve(); err != nil {
			n.Close()
			return nil, apiError(ctx, err)
		}
	}
	s := newSession(n.View, n.View.session, o.leave)
	s.Owner, s.node = true, n
	return s, nil
}

// serve opens the repo to other processes. Where there can be no socket (a full disk, a file system without
// sockets) the process continues alone.
func (o *owner) serve() error {
	path := filepath.Join(o.node.store.Dir(), socketName)
	l, err := api.Listen(path)
	if diskfs.Full(err) && o.node.store.ReleaseReserve() == nil { // commands that free space need the socket
		l, err = api.Listen(path)
	}
	if errors.Is(err, api.ErrSocketPath) {
		return err
	}
	if err != nil {
		o.node.log.Warn("listen on repo socket: other processes cannot share the repo", "err", err)
		return nil
	}
	o.socket = l
	o.handler = api.NewHandler(func() (api.Backend, error) { return o.node.Begin(), nil })
	o.server = o.handler.Server(log.New(logWriter{o.node.log}, "", 0))
	o.group.Go(func() error { return o.server.Serve(l) })
	return nil
}

// leave closes the repo when the attached processes are gone, or when stay ends. The order matters: first no
// process is admitted, then the socket is closed, then the lock is released.
func (o *owner) leave(stay context.Context) error {
	if o.handler != nil {
		if o.handler.Drain(stay) != nil {
			o.handler.Close()
		}
		o.server.Close() // closes the socket, too
		if err := o.group.Wait(); !errors.Is(err, http.ErrServerClosed) {
			o.node.log.Warn("serve repo socket", "err", err)
		}
	}
	return apiError(stay, o.node.Close())
}

// logWriter writes the error log of net/http to the node's log.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Warn("serve API", "err", string(p))
	return len(p), nil
}
