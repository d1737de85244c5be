package e2e

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/netlab"
)

// socket is a TCP or UDP socket of a process, from the kernel's list.
type socket struct {
	proto         string // tcp, tcp6, udp, udp6
	local, remote netip.AddrPort
	listens       bool
}

// sockets returns the internet sockets of the process pid.
func sockets(t *testing.T, pid int) []socket {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", pid)
	mine := map[string]bool{}
	links, err := filepath.Glob(proc + "fd/*")
	if err != nil || len(links) == 0 {
		t.Fatalf("process %d has no files: %v", pid, err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "socket:[") {
			mine[strings.Trim(to, "socket:[]")] = true
		}
	}
	var all []socket
	for _, proto := range []string{"tcp", "tcp6", "udp", "udp6"} {
		list, err := os.ReadFile(proc + "net/" + proto)
		if err != nil {
			continue // a kernel without IPv6
		}
		for line := range strings.Lines(string(list)) {
			w := strings.Fields(line)
			if len(w) < 10 || !mine[w[9]] {
				continue
			}
			s := socket{proto: proto, local: addrPort(t, w[1]), remote: addrPort(t, w[2]), listens: w[3] == "0A"}
			all = append(all, s)
		}
	}
	return all
}

// addrPort decodes the kernel's "0100007F:1F90": words of four bytes, each in the machine's
// byte order.
func addrPort(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	ip, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(ip)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil {
		t.Fatalf("invalid kernel address %q", s)
	}
	for i := 0; i+4 <= len(b); i += 4 {
		slices.Reverse(b[i : i+4]) // all machines that Go runs on and CI has are little endian
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n))
}

// TestDialsNoOtherPeer watches the sockets of real serve processes: one without other peers
// listens at its own port and has no connection; one that joins is connected only to the peer
// of its token. QUIC packets and name lookups are not in the list of sockets:
// TestLabDialsNoOtherPeer counts them.
func TestDialsNoOtherPeer(t *testing.T) {
	alone := newPeer(t, "alone", here{}, "127.0.0.1")
	alone.listen = alone.listen[:1] // TCP, whose connections the kernel lists
	alone.start("")
	port := func(p *peer) uint16 {
		n, err := strconv.ParseUint(p.listen[0][strings.LastIndex(p.listen[0], "/")+1:], 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		return uint16(n)
	}
	const mdnsPort = 5353
	// watch polls for a while, and returns the addresses that p was connected to.
	watch := func(p *peer, allowed ...uint16) map[netip.AddrPort]bool {
		t.Helper()
		spoke := map[netip.AddrPort]bool{}
		for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			for _, s := range sockets(t, p.pid()) {
				switch {
				case s.remote.Port() != 0:
					spoke[s.remote] = true
					if !s.remote.Addr().IsLoopback() || !slices.Contains(allowed, s.remote.Port()) && !slices.Contains(allowed, s.local.Port()) {
						t.Errorf("%s is connected to %v", p.name, s)
					}
				case s.local.Port() == mdnsPort && strings.HasPrefix(s.proto, "udp"):
					// mDNS on the local network
				case s.local.Addr() != netip.MustParseAddr("127.0.0.1") || !slices.Contains(allowed, s.local.Port()):
					t.Errorf("%s has the socket %v", p.name, s)
				}
			}
			if t.Failed() {
				break
			}
		}
		return spoke
	}
	if spoke := watch(alone, port(alone)); len(spoke) > 0 {
		t.Errorf("a peer without other peers is connected to %v", spoke)
	}
	second := newPeer(t, "second", here{}, "127.0.0.1")
	second.start(alone.token)
	if spoke := watch(second, port(alone), port(second)); len(spoke) == 0 {
		t.Error("the watcher misses an existing connection")
	}
	watch(alone, port(alone), port(second))
}

// TestLabDialsNoOtherPeer counts every packet of peers on their own hosts, with a route to
// everywhere: none goes to an address that they were not given.
func TestLabDialsNoOtherPeer(t *testing.T) {
	lab := netlab.New(t, netlab.Link{})
	first, second, other := lab.Host("first"), lab.Host("second"), lab.Host("other")
	a, b := labPeer(t, first, "--mdns=false"), labPeer(t, second, "--mdns=false")
	a.start("")
	time.Sleep(4 * time.Second)
	if n := lab.Into(second) + lab.Into(other); n > 0 {
		t.Errorf("a peer without other peers sent %d bytes to others", n)
	}
	b.start(a.token)
	awaitPeers(t, []*peer{a, b})
	time.Sleep(20 * time.Second) // AutoNAT and the search for relays have begun
	if n := lab.Bytes(second, first); n == 0 {
		t.Error("no bytes counted between connected peers")
	}
	if n := lab.Into(other); n > 0 {
		t.Errorf("%d bytes went to an unrelated host", n)
	}
	if n := first.Strays() + second.Strays(); n > 0 {
		t.Errorf("%d packets went to the internet", n)
	}
}
