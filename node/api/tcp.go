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

// Bounds of a TCP listener. Unauthenticated clients can reach it: each of their connections costs a
// little memory for headerTimeout, and at most maxConns are accepted.
const (
	maxConns    = 512
	idleTimeout = time.Minute
	// stallTimeout is the maximum pause within the body of a request, and within an answer outside
	// a session.
	stallTimeout = time.Minute
)

// ListenTCP listens for clients at addr, host and port, for a server of [Handler.Remote].
func ListenTCP(addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for API clients: %w", err)
	}
	return &limitedListener{Listener: l, slots: make(chan struct{}, maxConns), closed: make(chan struct{})}, nil
}

// Remote returns an http.Server for h that answers only requests with the token. The error is a
// *Error of CodeUsage when token is invalid.
func (h *Handler) Remote(token string, errors *log.Logger) (*http.Server, error) {
	if err := checkToken(token); err != nil {
		return nil, err
	}
	s := h.Server(errors)
	s.Handler = requireToken(token, detectAbsence(h.stall, h))
	s.ConnContext = withConn
	s.IdleTimeout = idleTimeout
	return s, nil
}

// limitedListener is a listener that accepts a bounded number of connections at once.
type limitedListener struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, leave: func() { <-l.slots }}, nil
}

func (l *limitedListener) Close() error {
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

// stallReader is the body of a request that must make progress within stallTimeout.
type stallReader struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b stallReader) Read(p []byte) (int, error) {
	b.rc.SetReadDeadline(time.Now().Add(stallTimeout)) // Read reports the same error
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.rc.SetReadDeadline(time.Time{}) // while the answer is written, the server goes on reading
	}
	return n, err
}
