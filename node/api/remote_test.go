package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
)

const testToken = "0123456789abcdefghij"

func TestRemote(t *testing.T) {
	m := &memory{}
	addr := serveTCP(t, NewHandler(func() (Backend, error) { return m, nil }))
	c, err := DialRemote(t.Context(), addr, testToken)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := bytes.Repeat([]byte("x"), 1<<20)
	if err := c.Put(t.Context(), Block{rawCID(data), data}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(t.Context(), rawCID(data))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("Get: %d bytes, %v", len(got), err)
	}
	said := Event{Kind: EventDone, At: time.Unix(3, 0).UTC(), Text: "done"}
	m.emit(said)
	err = c.Follow(t.Context(), "j-1", 0, func(e Event) error { check(t, "event", e, said, nil); return nil })
	if err != nil {
		t.Error(err)
	}
}

func TestRemoteNeedsTheToken(t *testing.T) {
	addr := serveTCP(t, NewHandler(func() (Backend, error) { return &memory{}, nil }))
	if c, err := DialRemote(t.Context(), addr, testToken+"x"); codeOf(err) != CodeDenied {
		t.Fatalf("a wrong token: %v, %v", c, err)
	}
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer " + testToken[1:], "Basic " + testToken, testToken, "bearer" + testToken} {
		for _, path := range []string{"/v1/attach", "/v1/identity", "/health", "/", "//v1/attach"} {
			req, _ := http.NewRequest("POST", "http://"+addr+path, strings.NewReader(strings.Repeat("x", 1<<20)))
			req.Header.Set("Authorization", header)
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				continue // the connection was closed while the client was still sending: that is refused too
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized || !resp.Close {
				t.Errorf("%s with %q: %s, closes %v", path, header, resp.Status, resp.Close)
			}
		}
	}
	for _, bad := range []string{"", "short", strings.Repeat(" ", 30), strings.Repeat("é", 30)} {
		if _, err := NewHandler(nil).Remote(bad, nil); codeOf(err) != CodeUsage {
			t.Errorf("a server with the token %q: %v", bad, err)
		}
		if _, err := DialRemote(t.Context(), addr, bad); codeOf(err) != CodeUsage {
			t.Errorf("a client with the token %q: %v", bad, err)
		}
	}
}

func TestRemoteAddresses(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, bad := range []string{"", "ftp://x", "http://", "http://u:p@x", "http://x/path", "x y", "http://x?q", "http://x#f"} {
		if _, err := DialRemote(ctx, bad, testToken); codeOf(err) != CodeUsage {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"x:1", "http://x", "https://x/", "http://[::1]:7"} {
		if _, err := DialRemote(ctx, good, testToken); !errors.Is(err, context.Canceled) {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// Clients that connect and send nothing, or send slowly, occupy a bounded number of places for a
// limited time.
func TestListenerIsBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limitedListener{Listener: inner, slots: make(chan struct{}, 2), closed: make(chan struct{})}
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first := <-accepted
	<-accepted
	select {
	case <-accepted:
		t.Fatal("a third connection was accepted")
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	first.Close() // a second time frees nothing
	<-accepted
	if len(l.slots) != 2 {
		t.Errorf("%d connections are counted", len(l.slots))
	}
	l.Close() // while Accept waits for a free slot
	if c, ok := <-accepted; ok {
		t.Errorf("accepted %v from a closed listener", c)
	}
}

func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.token")
	token, err := MakeToken(path)
	if err != nil || checkToken(token) != nil {
		t.Fatalf("%q, %v", token, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	again, err := MakeToken(path)
	check(t, "the second time", again, token, err)
	os.Chmod(path, 0o640)
	if _, err := MakeToken(path); codeOf(err) != CodeUsage {
		t.Errorf("a file that others can read: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	os.WriteFile(empty, nil, 0o600)
	if _, err := MakeToken(empty); codeOf(err) != CodeUsage {
		t.Errorf("an empty file: %v", err)
	}
}

func TestMissing(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	c := dial(t, path)
	here, away := Block{rawCID([]byte("here")), []byte("here")}, rawCID([]byte("away"))
	if err := c.Put(t.Context(), here); err != nil {
		t.Fatal(err)
	}
	lacks, err := c.Missing(t.Context(), here.CID, away, here.CID)
	check(t, "Missing", lacks, []cid.Cid{away}, err)
	lacks, err = c.Missing(t.Context())
	check(t, "Missing of nothing", lacks, []cid.Cid{}, err)
	if _, err := c.Missing(t.Context(), make([]cid.Cid, MaxMissing+1)...); codeOf(err) != CodeUsage {
		t.Errorf("too many: %v", err)
	}
}

func TestFetch(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	c := dial(t, path)
	err := c.Fetch(t.Context(), rawCID([]byte("far")))
	b, _ := m.Get(t.Context(), rawCID([]byte("far")))
	check(t, "Fetch", string(b), "far", err)
	if err := c.Fetch(t.Context(), rawCID([]byte("away"))); codeOf(err) != CodeMissing {
		t.Errorf("Fetch of a block that no peer has: %v", err)
	}
}

func TestWalk(t *testing.T) {
	m := &memory{blocks: map[cid.Cid][]byte{}}
	sum := 0
	for n := range 5 {
		b := bytes.Repeat([]byte{byte(n)}, MaxBlock>>n)
		m.blocks[rawCID(b)] = b
		sum += len(b)
	}
	_, path := serve(t, m)
	c := dial(t, path)
	root, got := rawCID(make([]byte, MaxBlock)), 0
	err := c.Walk(t.Context(), root, func(b Block) error {
		if rawCID(b.Data) != b.CID {
			t.Errorf("block %s has other bytes", b.CID)
		}
		got += len(b.Data)
		return nil
	})
	check(t, "bytes of the walk", got, sum, err)
	enough := errors.New("enough")
	if err := c.Walk(t.Context(), root, func(Block) error { return enough }); err != enough {
		t.Errorf("an error of each: %v", err)
	}
	if err := c.Walk(t.Context(), rawCID([]byte("away")), nil); codeOf(err) != CodeMissing {
		t.Errorf("no such root: %v", err)
	}
}

// Events never wait for a client that does not read, and those that fit the queue arrive.
func TestEventsDoNotWait(t *testing.T) {
	const many = 100 * MaxEvents
	sent := make(chan struct{})
	m := &memory{run: func(_ context.Context, _ Request, w Watch) (Job, error) {
		for n := range many {
			w.Event(Event{Seq: n, Kind: EventNote, Text: strings.Repeat("x", 8<<10)})
		}
		close(sent)
		return Job{ID: "j-1"}, nil
	}}
	_, path := serve(t, m)
	c := dial(t, path)
	body, err := encodeRequest(Request{Task: testTask()}, Watch{Event: func(Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.do(t.Context(), "POST", "/v1/run", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	select {
	case <-sent: // no event has been read
	case <-time.After(10 * time.Second):
		t.Fatal("an event waits for the client")
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < MaxEvents*8<<10 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
