package node

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

// ServeAPI serves the API on l, to clients that have the token, until ctx ends; then their calls are cancelled.
// It closes l. In an attached process it returns an error.
func (s *Session) ServeAPI(ctx context.Context, l net.Listener, token string) error {
	n := s.node
	if n == nil {
		l.Close()
		return api.Errorf(api.CodeConflict, "the repo is in use by another process")
	}
	h := api.NewHandler(func() (api.Backend, error) { return n.Begin(), nil })
	server, err := h.Remote(token, log.New(logWriter{n.log}, "", 0))
	if err != nil {
		l.Close()
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		h.Close()
		server.Close()
	})
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		h.Close()
		server.Close()
		return fmt.Errorf("serve the API: %w", err)
	}
	h.Close() // waits for the Close that is running
	return nil
}
