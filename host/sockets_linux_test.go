package host

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// socket is a TCP or UDP socket of this process.
type socket struct{ proto, local, remote, state string }

// sockets returns the internet sockets of this process, from the kernel.
func sockets(t *testing.T) []socket {
	t.Helper()
	mine := map[string]bool{}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "socket:[") {
			mine[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	var all []socket
	for _, proto := range []string{"tcp", "tcp6", "udp", "udp6"} {
		f, err := os.Open("/proc/self/net/" + proto)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if w := strings.Fields(lines.Text()); len(w) > 9 && mine[w[9]] {
				all = append(all, socket{proto, w[1], w[2], w[3]})
			}
		}
	}
	return all
}

const (
	tcpListen = "0A"
	loopHex   = "0100007F"
)

// TestSockets checks the sockets of a peer without a cluster: it listens on the configured addresses, and dials no
// peer. A peer with NoListen has no socket at all.
func TestSockets(t *testing.T) {
	before := sockets(t)
	watch := func(want map[string]int) {
		t.Helper()
		for range 30 {
			got := map[string]int{}
			for _, s := range sockets(t) {
				if slices.Contains(before, s) {
					continue
				}
				if !strings.HasPrefix(s.local, loopHex+":") || !strings.HasSuffix(s.remote, ":0000") {
					t.Errorf("unexpected socket: %+v", s)
				}
				if s.proto == "tcp" && s.state != tcpListen {
					t.Errorf("unexpected connection: %+v", s)
				}
				got[s.proto]++
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v, want %v", got, want)
			}
			if t.Failed() {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	silent := newPeer(t, func(c *Config) { c.NoListen = true })
	watch(map[string]int{})
	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, func(c *Config) { c.Policy.Open = true })
	watch(map[string]int{"tcp": 1, "udp": 1})
	// The check does find a connection.
	other := newPeer(t, nil)
	if _, err := other.Connect(limited(t), p.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	if len(sockets(t)) <= len(before)+4 && !strings.Contains(p.Addrs()[0], "/udp/") {
		t.Errorf("a connection was not found: %v", sockets(t))
	}
}
