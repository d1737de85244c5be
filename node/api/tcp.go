package api

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Bounds of a TCP listener. Strangers reach it: each of their connections is a little
// memory for headerTimeout, and there is room for maxConns.
const (
	maxConns    = 512
	idleTimeout = time.Minute
	// stallTimeout is how long a request's body may stand still, and an answer outside a
	// session.
	stallTimeout = time.Minute
)

// ListenTCP listens for clients at addr, host and port, for a server of [Handler.Remote].
func ListenTCP(addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the API: %w", err)
	}
	return &limited{Listener: l, room: make(chan struct{}, maxConns), closed: make(chan struct{})}, nil
}

// Remote returns an http.Server for h that answers those who have the token, and nobody
// when token is not one.
func (h *Handler) Remote(token string, errors *log.Logger) (*http.Server, error) {
	if err := checkToken(token); err != nil {
		return nil, err
	}
	s := h.Server(errors)
	s.Handler = bearer(token, present(h.stall, h))
	s.ConnContext = withConn
	s.IdleTimeout = idleTimeout
	return s, nil
}

// limited accepts a bounded number of connections at once.
type limited struct {
	net.Listener
	room   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &limitedConn{Conn: c, leave: func() { <-l.room }}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
	once  sync.Once
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.leave)
	return err
}

// steady is a request's body that may not stand still.
type steady struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b steady) Read(p []byte) (int, error) {
	b.rc.SetReadDeadline(time.Now().Add(stallTimeout)) // an error is Read's, too
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.rc.SetReadDeadline(time.Time{}) // while the answer is written, the server reads on
	}
	return n, err
}
