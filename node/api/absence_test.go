package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// flood is a Backend whose Logs prints until the connection fails.
type flood struct {
	*memory
	ended chan error
}

func (f flood) Logs(ctx context.Context, _ string, w Watch) error {
	err := error(nil)
	for line := []byte(strings.Repeat("x", 4<<10)); err == nil && ctx.Err() == nil; {
		_, err = w.Stdout.Write(line)
	}
	f.ended <- err
	return err
}

// floodTCP serves a flood over TCP. It ends an answer outside a session that makes no progress for
// stall.
func floodTCP(t *testing.T, stall time.Duration) (addr string, f flood) {
	t.Helper()
	f = flood{&memory{}, make(chan error, 1)}
	h := NewHandler(func() (Backend, error) { return f, nil })
	h.stall = stall
	return serveTCP(t, h), f
}

// ask sends a request on its own connection, and reads nothing.
func ask(t *testing.T, addr, method, path, session string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n", method, path, testToken)
	if session != "" {
		fmt.Fprintf(c, "%s: %s\r\n", sessionHeader, session)
	}
	io.WriteString(c, "\r\n")
	return c
}

// An answer outside a session is ended when its client stops reading.
func TestStalledAnswer(t *testing.T) {
	const stall = 500 * time.Millisecond
	addr, f := floodTCP(t, stall)
	ask(t, addr, "GET", "/v1/jobs/j-1/logs?stdout=1", "")
	select {
	case err := <-f.ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Logs returned %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the answer still waits for its reader")
	}
	// Later requests on the same connection have their own limits.
	tr := &http.Transport{MaxConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	for _, c := range []struct {
		session string
		status  int
	}{{"", http.StatusOK}, {"gone", http.StatusBadRequest}} {
		if status := getTCP(t, tr, "http://"+addr+"/v1/identity", c.session); status != c.status {
			t.Errorf("session %q: status %d", c.session, status)
		}
		time.Sleep(stall + stall/4) // until the limit of the first one has passed
	}
}

// Within a session a client may stop reading for as long as the session lasts.
func TestStalledAnswerInSession(t *testing.T) {
	const stall = 500 * time.Millisecond
	addr, f := floodTCP(t, stall)
	attached := ask(t, addr, "POST", "/v1/attach", "")
	lines := bufio.NewReader(attached)
	session := ""
	for session == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, ok := strings.Cut(line, `"session":"`); ok {
			session, _, _ = strings.Cut(rest, `"`)
		}
	}
	ask(t, addr, "GET", "/v1/jobs/j-1/logs?stdout=1", session)
	select {
	case err := <-f.ended:
		t.Fatalf("the answer was ended: %v", err)
	case <-time.After(2 * stall):
	}
	attached.Close()
	select {
	case <-f.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the answer outlasts its session")
	}
}
