package api

import (
	"context"
	"net"
	"net/http"
	"time"
)

// A client on another machine can disappear without closing its connection, after a power loss or a
// network failure. The handler releases what such a client holds within about a minute:
//
//   - Keep-alives detect a client that has nothing to receive.
//   - A client that was sent data has ackTimeout to acknowledge it. This applies to the attach
//     request, which gets a byte every heartbeat. When it ends, all other requests of the session
//     end too. Those may pause for as long as their reader likes: it may be a pager.
//   - An answer outside a session may not make no progress for longer than stallTimeout.
const ackTimeout = 45 * time.Second

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 3}

type connKey struct{}

// withConn stores the connection of a request in its context.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// detectAbsence ends the answers to clients that have disappeared.
func detectAbsence(stall time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mayStall := r.Header.Get(sessionHeader) != ""
		if mayStall {
			setAckLimit(r, 0)
		} else {
			setAckLimit(r, ackTimeout)
		}
		if !mayStall {
			w = &stallWriter{w, http.NewResponseController(w), stall}
		}
		next.ServeHTTP(w, r)
	})
}

// setAckLimit sets how long data that was sent on the connection of a request may stay
// unacknowledged. Where it cannot be set, the limits of the system apply.
func setAckLimit(r *http.Request, d time.Duration) {
	if c, ok := r.Context().Value(connKey{}).(*limitedConn); ok {
		setAckTimeout(c.Conn, d)
	}
}

// stallWriter is a ResponseWriter whose writes must make progress within a time limit.
type stallWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	limit time.Duration
}

func (m *stallWriter) Write(b []byte) (int, error) {
	m.extend()
	return m.ResponseWriter.Write(b)
}

// FlushError is called by an http.ResponseController.
func (m *stallWriter) FlushError() error {
	m.extend()
	return m.rc.Flush()
}

// WriteHeader starts the answer. The limit also covers what is flushed after the handler returns.
func (m *stallWriter) WriteHeader(status int) {
	m.extend()
	m.ResponseWriter.WriteHeader(status)
}

func (m *stallWriter) extend() { m.rc.SetWriteDeadline(time.Now().Add(m.limit)) }

// Unwrap is called by an http.ResponseController.
func (m *stallWriter) Unwrap() http.ResponseWriter { return m.ResponseWriter }
