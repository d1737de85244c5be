package api

import (
	"context"
	"net"
	"net/http"
	"time"
)

// A client on another machine may be gone without a word: its host lost power, or the
// network between was cut. What it holds here ends within about a minute:
//
//   - one that has nothing to get is asked by keep-alives whether it is there;
//   - one that was sent something has absentTime to acknowledge it. That holds for its
//     attach request, which gets a byte every heartbeat; when that breaks, all other
//     requests of the session end, too. These may stand still as long as their reader
//     likes: he may be a pager;
//   - an answer outside a session may not stand still for stallTimeout.
const absentTime = 45 * time.Second

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 3}

type connKey struct{}

// withConn lets a request find its connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// present ends the answers of clients that are gone.
func present(stall time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mayStall := r.Header.Get(sessionHeader) != ""
		if mayStall {
			limitAbsence(r, 0)
		} else {
			limitAbsence(r, absentTime)
		}
		if !mayStall {
			w = &moving{w, http.NewResponseController(w), stall}
		}
		next.ServeHTTP(w, r)
	})
}

// limitAbsence says how long what is sent over the connection of a request may go without
// an acknowledgement. Where that cannot be said, the system's own limits hold.
func limitAbsence(r *http.Request, d time.Duration) {
	if c, ok := r.Context().Value(connKey{}).(*limitedConn); ok {
		setAbsentTime(c.Conn, d)
	}
}

// moving is an answer that may not stand still.
type moving struct {
	http.ResponseWriter
	rc    *http.ResponseController
	limit time.Duration
}

func (m *moving) Write(b []byte) (int, error) {
	m.extend()
	return m.ResponseWriter.Write(b)
}

// FlushError is called by an http.ResponseController.
func (m *moving) FlushError() error {
	m.extend()
	return m.rc.Flush()
}

// WriteHeader begins the answer. What is flushed after the handler's end has the limit, too.
func (m *moving) WriteHeader(status int) {
	m.extend()
	m.ResponseWriter.WriteHeader(status)
}

func (m *moving) extend() { m.rc.SetWriteDeadline(time.Now().Add(m.limit)) }

// Unwrap is called by an http.ResponseController.
func (m *moving) Unwrap() http.ResponseWriter { return m.ResponseWriter }
