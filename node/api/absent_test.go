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

// flood is a Guest whose runs print until nobody takes it any more.
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

// floodTCP serves a flood to those with testToken, and cuts an answer outside a session
// that stands still for stall.
func floodTCP(t *testing.T, stall time.Duration) (addr string, f flood) {
	t.Helper()
	f = flood{&memory{}, make(chan error, 1)}
	l, err := ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := NewHandler(func() (Guest, error) { return f, nil })
	h.stall = stall
	server, err := h.Remote(testToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		h.Close()
		server.Close()
		<-done
	})
	return l.Addr().String(), f
}

// ask sends a request on a connection of its own, and reads nothing.
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

// Who stops reading outside a session is cut off.
func TestStandsStill(t *testing.T) {
	addr, f := floodTCP(t, 200*time.Millisecond)
	ask(t, addr, "GET", "/v1/jobs/j-1/logs?stdout=1", "")
	select {
	case err := <-f.ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the answer still waits for its reader")
	}
	// Others on the same connection have their own time.
	tr := &http.Transport{MaxConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	for range 3 {
		req, _ := http.NewRequest("GET", "http://"+addr+"/v1/identity", nil)
		req.Header.Set("Authorization", "Bearer "+testToken)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s", resp.Status)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// In a session one may stop reading for as long as one likes, and as long as it lasts.
func TestStandsStillInSession(t *testing.T) {
	addr, f := floodTCP(t, 50*time.Millisecond)
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
		t.Fatalf("the answer was cut off: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	attached.Close()
	select {
	case <-f.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the answer outlasts its session")
	}
}
