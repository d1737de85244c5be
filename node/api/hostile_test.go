package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Requests that our client never makes are refused, and the next client is served.
func TestHostileRequests(t *testing.T) {
	m := &memory{run: func(context.Context, Request, Watch) (Job, error) { return Job{}, errors.New("it ran") }}
	_, path := serve(t, m)
	c := dial(t, path)
	send := func(method, target, body string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
			method, target, sessionHeader, c.session, len(body), body)
	}
	good := blockHeader(Block{CID: rawCID([]byte("x"))})
	framed := func(n uint64, b string) string { return string(binary.AppendUvarint(nil, n)) + b }
	for name, c := range map[string]struct{ request, status string }{
		"garbage":             {"\x00\x01\x02\r\n\r\n", "400"},
		"endless header":      {"GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 1<<20), "431"},
		"no session of its":   {"GET /v1/pins HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + sessionHeader + ": \x01\r\n\r\n", "400"},
		"another's session":   {"GET /v1/pins HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + sessionHeader + ": AAAA\r\n\r\n", "400"},
		"unknown path":        {send("GET", "/v2/pins", ""), "404"},
		"wrong method":        {send("DELETE", "/v1/blocks", ""), "405"},
		"no CID":              {send("GET", "/v1/blocks/x", ""), "400"},
		"path for a CID":      {send("GET", "/v1/blocks/..%2f..%2fetc%2fpasswd", ""), "400"},
		"absent block":        {send("GET", "/v1/blocks/"+rawCID(nil).String(), ""), "404"},
		"block frame: empty":  {send("POST", "/v1/blocks", "\x00"), "400"},
		"block frame: noise":  {send("POST", "/v1/blocks", framed(5, "noise")), "400"},
		"block frame: huge":   {send("POST", "/v1/blocks", framed(1<<40, "x")), "400"},
		"block frame: uvar":   {send("POST", "/v1/blocks", strings.Repeat("\xff", 11)), "400"},
		"block frame: cut":    {send("POST", "/v1/blocks", string(good)[:20]), "400"},
		"block frame: 4MiB+1": {send("POST", "/v1/blocks", framed(MaxBlock+maxCID+1, strings.Repeat("x", MaxBlock+maxCID+1))), "400"},
		"wrong hash":          {send("POST", "/v1/blocks", framed(uint64(rawCID(nil).ByteLen()+1), string(rawCID(nil).Bytes())+"y")), "400"},
		"no JSON":             {send("PUT", "/v1/pins", "{"), "400"},
		"two JSON":            {send("PUT", "/v1/pins", `{"name":"a"}{}`), "400"},
		"unknown field":       {send("PUT", "/v1/pins", `{"nam":"a"}`), "400"},
		"JSON of 17 MiB":      {send("PUT", "/v1/pins", strings.Repeat(" ", 17<<20)), "400"},
		"deep JSON":           {send("PUT", "/v1/pins", strings.Repeat("[", 1<<20)), "400"},
		"run of nothing":      {send("POST", "/v1/run", "{}"), "400"},
		"run of no Task":      {send("POST", "/v1/run", `{"task":"AAAA"}`), "400"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := talk(t, path, c.request)
			if status, _, _ := strings.Cut(strings.TrimPrefix(answer, "HTTP/1.1 "), " "); status != c.status {
				t.Errorf("status %s, want %s: %.300q", status, c.status, answer)
			}
		})
	}
	if len(m.blocks)+len(m.pins) > 0 {
		t.Errorf("something was stored: %v %v", m.blocks, m.pins)
	}
	if err := c.Sync(t.Context()); err != nil {
		t.Error(err)
	}
}

// net/http does not detect that a client has closed the connection if it sent more than its attach
// request. It is detached at the latest when the handler is closed.
func TestAttachWithMore(t *testing.T) {
	h, path := serve(t, &memory{})
	got := make(chan string)
	go func() {
		got <- talk(t, path, "POST /v1/attach HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nand more")
	}()
	for h.count() == 0 {
		time.Sleep(time.Millisecond)
	}
	h.Close()
	if answer := <-got; !strings.Contains(answer, `"api":1`) {
		t.Errorf("%q", answer)
	}
}

func (h *Handler) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

// A client survives any answer of a server.
func TestHostileServer(t *testing.T) {
	hello := `{"api":1,"session":"S","pid":7}` + "\n"
	frame := func(typ byte, n uint32, payload string) string {
		return string(binary.BigEndian.AppendUint32([]byte{typ}, n)) + payload
	}
	answer := "" // to the request after attach
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/attach", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, hello)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answer) })
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, &http.Server{Handler: mux})

	for _, hello = range []string{"", "\n", "x\n", strings.Repeat("x", 1<<20), `{"api":2,"pid":7}` + "\n"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if c, err := Dial(ctx, path); err == nil {
			c.Close()
			t.Errorf("attached to %.20q", hello)
		}
		cancel()
	}
	hello = `{"api":1,"session":"S","pid":7}` + "\n"
	c := dial(t, path)
	if c.PID() != 7 {
		t.Errorf("pid %d", c.PID())
	}
	for name, a := range map[string]string{
		"nothing":          "",
		"half a header":    "o\x00",
		"unknown type":     frame('?', 0, ""),
		"huge output":      frame('o', 1<<31, "x"),
		"huge item":        frame('i', maxJSON+1, ""),
		"short progress":   frame('p', 8, "12345678"),
		"cut output":       frame('o', 5, "123"),
		"no end":           frame('o', 1, "1"),
		"end of noise":     frame('z', 1, "x"),
		"end without job":  frame('z', 2, "{}"),
		"end with bad job": frame('z', 15, `{"value":"e30"}`),
	} {
		t.Run(name, func(t *testing.T) {
			answer = a
			if j, err := c.Run(t.Context(), Request{Task: testTask()}, Watch{Stdout: io.Discard}); codeOf(err) == "" {
				t.Errorf("run: %+v, %v", j, err)
			}
			if _, err := c.Collect(t.Context()); codeOf(err) == "" {
				t.Errorf("collect: %v", err)
			}
		})
	}
	answer = strings.Repeat("x", MaxBlock+1)
	if b, err := c.Get(t.Context(), rawCID(nil)); codeOf(err) != CodeFault {
		t.Errorf("get: %d bytes, %v", len(b), err)
	}
}

func FuzzReadBlock(f *testing.F) {
	b := Block{rawCID([]byte("x")), []byte("x")}
	f.Add(append(blockHeader(b), b.Data...))
	f.Add([]byte{0x80, 0x80, 0x80, 0x02})
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := readBlock(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			return
		}
		again, err := readBlock(bufio.NewReader(bytes.NewReader(append(blockHeader(b), b.Data...))))
		if err != nil || again.CID != b.CID || !bytes.Equal(again.Data, b.Data) {
			t.Errorf("%v, %v", again.CID, err)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("o\x00\x00\x00\x01x"))
	f.Add([]byte("z\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		typ, payload, err := readFrame(bytes.NewReader(in), nil)
		if err == nil && !bytes.HasPrefix(in[1:], binary.BigEndian.AppendUint32(nil, uint32(len(payload)))) {
			t.Errorf("frame %q of %d bytes from %q", typ, len(payload), in[:5])
		}
	})
}
