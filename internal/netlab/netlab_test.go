//go:build linux

package netlab

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test binary the program that runs on the hosts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve":
			os.Exit(serve())
		case "send":
			os.Exit(send(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

const size = 4 << 20 // bytes per transfer

// serve prints the number of bytes that each connection sent.
func serve() int {
	l, err := net.Listen("tcp", ":7000")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("up")
	for {
		c, err := l.Accept()
		if err != nil {
			return 1
		}
		n, _ := io.Copy(io.Discard, c)
		fmt.Fprintln(c, n)
		c.Close()
	}
}

// send sends size bytes to addr and prints how long connecting and sending took.
func send(addr string) int {
	began := time.Now()
	c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, "7000"), 1500*time.Millisecond)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	connected := time.Since(began)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	c.Write(make([]byte, size))
	c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(c)
	if err != nil || strings.TrimSpace(string(answer)) != fmt.Sprint(size) {
		fmt.Printf("answer: got %q, %v\n", answer, err)
		return 1
	}
	fmt.Println(connected, time.Since(began))
	return 0
}

// transfer sends from one host to another; ok reports whether it succeeded.
func transfer(t *testing.T, from *Host, to *Host) (connect, whole time.Duration, ok bool) {
	t.Helper()
	out, err := from.Command(os.Args[0], "send", to.Addr.String()).CombinedOutput()
	if err != nil {
		return 0, 0, false
	}
	words := strings.Fields(string(out))
	if len(words) != 2 {
		t.Fatalf("sender: got %q", out)
	}
	connect, err1 := time.ParseDuration(words[0])
	whole, err2 := time.ParseDuration(words[1])
	if err1 != nil || err2 != nil {
		t.Fatalf("sender: got %q", out)
	}
	return connect, whole, true
}

func startServer(t *testing.T, h *Host) {
	t.Helper()
	c := h.Command(os.Args[0], "serve")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	if line := make([]byte, 3); true {
		if _, err := io.ReadFull(out, line); err != nil || string(line) != "up\n" {
			t.Fatalf("server: got %q, %v", line, err)
		}
	}
}

func TestLab(t *testing.T) {
	l := New(t, Link{Delay: 10 * time.Millisecond})
	a, b, inside := l.Host("a"), l.Host("b"), l.Behind("inside")
	startServer(t, b)
	startServer(t, inside)
	if connect, _, ok := transfer(t, a, b); !ok || connect < 20*time.Millisecond {
		t.Errorf("connecting over two times 10 ms took %v (done: %v)", connect, ok)
	}
	if n := l.Bytes(a, b); n < size || n > size*5/4 {
		t.Errorf("counted %d bytes, sent %d", n, size)
	}
	if _, _, ok := transfer(t, inside, b); !ok {
		t.Error("no connection from behind the router")
	}
	if _, _, ok := transfer(t, b, inside); ok {
		t.Error("connection from outside through the router")
	}
	l.Cut(b, true)
	if _, _, ok := transfer(t, a, b); ok {
		t.Error("transfer over a cut link succeeded")
	}
	l.Cut(b, false)
	if _, _, ok := transfer(t, a, b); !ok {
		t.Error("transfer over a restored link failed")
	}
	l.Set(a, b, Link{Loss: 1})
	if _, _, ok := transfer(t, a, b); ok {
		t.Error("transfer over a link with full loss succeeded")
	}
	l.Set(a, b, Link{Rate: 8 << 20})
	if _, whole, ok := transfer(t, a, b); !ok || whole < 400*time.Millisecond {
		t.Errorf("4 MiB at 8 MiB/s took %v (done: %v)", whole, ok)
	}
}
