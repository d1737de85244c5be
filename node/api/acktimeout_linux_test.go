package api

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel gets a limit for unacknowledged data: outside a session, and on the attach request of
// a session.
func TestAckTimeoutIsSet(t *testing.T) {
	l, err := ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type times struct{ absent, idle int }
	got := make(chan times, 1)
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := r.Context().Value(connKey{}).(*limitedConn).Conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Error(err)
			return
		}
		raw.Control(func(fd uintptr) {
			var x times
			x.absent, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			x.idle, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			got <- x
		})
	})
	serveOn(t, l, &http.Server{Handler: detectAbsence(time.Minute, next), ConnContext: withConn})
	tr := &http.Transport{MaxConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	for _, c := range []struct {
		session string
		want    time.Duration
	}{{"", ackTimeout}, {"a", 0}, {"", ackTimeout}} { // on one connection
		getTCP(t, tr, "http://"+l.Addr().String(), c.session)
		if x := <-got; x.absent != int(c.want.Milliseconds()) || x.idle != int(keepAlive.Idle.Seconds()) {
			t.Errorf("session %q: %+v", c.session, x)
		}
	}
}
