//go:build linux

// Package netlab is a small internet for tests: hosts that are network namespaces, and links
// between them with delay, rate, loss and cuts. Real processes run on the hosts and use real
// TCP and QUIC through the kernel; only the links are simulated, since many kernels lack netem:
// every host has a TUN device, and the test process carries the packets from one to the other.
//
// It needs root, /dev/net/tun and iproute2 ([Why] reports what is missing), and sends nothing
// outside the machine.
package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Link is the connection between two hosts, in each direction separately. The zero value
// delivers everything at once.
type Link struct {
	Delay time.Duration // one way
	Rate  int64         // bytes per second; 0: unlimited
	Loss  float64       // share of lost packets, 0 to 1; several packets of one stream may be sent, and lost, as one
	Cut   bool          // drops everything
}

// Lab is a set of hosts that reach each other over links.
type Lab struct {
	t    testing.TB
	name string // prefix of the namespaces

	mu    sync.Mutex
	hosts []*Host
	rest  Link // between hosts without a link set by Set
	wires map[pair]*wire
	group sync.WaitGroup
}

// pair is a direction between two hosts, by their index.
type pair struct{ from, to int }

// Host is a network namespace with one address in the lab.
type Host struct {
	Name string
	Addr netip.Addr // 45.77.0.N, which programs treat as a public one; behind a router, 192.168.N.2

	lab   *Lab
	index int      // in lab.hosts; -1: behind a router
	ns    string   // the namespace
	tun   *os.File // nil behind a router

	strays atomic.Int64
}

// Strays returns the number of packets that h has sent to addresses outside of the lab.
func (h *Host) Strays() int64 { return h.strays.Load() }

// Why returns why no lab can run: it was not requested, or this machine lacks something; "" if
// one can. make test-all and make bench request it.
func Why() string {
	if os.Getenv("LIFTOFF_TEST_LAB") == "" {
		return "LIFTOFF_TEST_LAB is not set (make test-all sets it)"
	}
	if os.Geteuid() != 0 {
		return "network namespaces need root"
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return "/dev/net/tun not found"
	}
	for _, program := range []string{"ip", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed (apt-get install iproute2 iptables)"
		}
	}
	return ""
}

// New creates an empty lab whose hosts are connected by rest, and removes it at the end of the
// test. It skips the test if no lab can run.
func New(t testing.TB, rest Link) *Lab {
	t.Helper()
	if why := Why(); why != "" {
		t.Skip("SKIPPED: " + why)
	}
	l := &Lab{t: t, name: fmt.Sprintf("lab%d", os.Getpid()), rest: rest, wires: map[pair]*wire{}}
	t.Cleanup(l.close)
	return l
}

// Host adds a host.
func (l *Lab) Host(name string) *Host {
	l.t.Helper()
	l.mu.Lock()
	index := len(l.hosts)
	l.mu.Unlock()
	if index >= 250 {
		l.t.Fatal("a lab has at most 250 hosts")
	}
	h := &Host{Name: name, Addr: addrOf(index), lab: l, index: index, ns: l.name + "-" + name}
	l.ip("netns", "add", h.ns)
	tun, err := openTUN(h.ns)
	if err != nil {
		l.ip("netns", "del", h.ns)
		l.t.Fatal(err)
	}
	h.tun = tun
	l.mu.Lock()
	l.hosts = append(l.hosts, h)
	l.mu.Unlock()
	h.ip("link", "set", "lo", "up")
	h.ip("addr", "add", h.Addr.String()+"/16", "dev", device)
	h.ip("link", "set", device, "up", "multicast", "on", "txqueuelen", "10000") // so that a busy test process loses nothing
	h.ip("route", "add", "default", "dev", device)
	l.group.Add(1)
	go l.carry(h)
	return h
}

// Behind adds a host behind a NAT router: no host can connect to it from outside.
func (l *Lab) Behind(name string) *Host {
	l.t.Helper()
	return l.behind(name)
}

// BehindStrict is Behind with a router that gives every connection another outer port, so that
// hole punching fails.
func (l *Lab) BehindStrict(name string) *Host {
	l.t.Helper()
	return l.behind(name, "--random-fully")
}

func (l *Lab) behind(name string, masquerade ...string) *Host {
	l.t.Helper()
	router := l.Host(name + "-nat")
	n := router.index + 1
	h := &Host{Name: name, Addr: netip.AddrFrom4([4]byte{192, 168, byte(n), 2}), lab: l, index: -1, ns: l.name + "-" + name}
	l.ip("netns", "add", h.ns)
	l.t.Cleanup(func() { exec.Command("ip", "netns", "del", h.ns).Run() })
	inner, outer := fmt.Sprintf("i%d", n), fmt.Sprintf("o%d", n)
	gate := netip.AddrFrom4([4]byte{192, 168, byte(n), 1}).String()
	l.ip("link", "add", inner, "netns", h.ns, "type", "veth", "peer", "name", outer, "netns", router.ns)
	h.ip("link", "set", "lo", "up")
	h.ip("addr", "add", h.Addr.String()+"/24", "dev", inner)
	h.ip("link", "set", inner, "up")
	router.ip("addr", "add", gate+"/24", "dev", outer)
	router.ip("link", "set", outer, "up")
	h.ip("route", "add", "default", "via", gate)
	router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	router.run("iptables", append([]string{"-t", "nat", "-A", "POSTROUTING", "-o", device, "-j", "MASQUERADE"}, masquerade...)...)
	// The router drops unsolicited packets, as home routers do.
	router.run("iptables", "-A", "FORWARD", "-i", device, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT")
	router.run("iptables", "-A", "FORWARD", "-i", device, "-j", "DROP")
	// And packets for the router itself: an answer would break hole punching in progress, and
	// the kernel would track the packet and use another port for the hole.
	router.run("iptables", "-A", "INPUT", "-i", device, "-j", "DROP")
	return h
}

// Command returns a program to be run on the host. Killing it kills the program itself.
func (h *Host) Command(program string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", h.ns, program}, args...)...)
}

// Set makes k the link between a and b, from now on and in both directions.
func (l *Lab) Set(a, b *Host, k Link) {
	for _, p := range []pair{{a.index, b.index}, {b.index, a.index}} {
		w := l.wire(p)
		w.mu.Lock()
		w.link = k
		w.mu.Unlock()
	}
}

// Cut disconnects h from all hosts, or reconnects it.
func (l *Lab) Cut(h *Host, cut bool) {
	l.mu.Lock()
	hosts := append([]*Host(nil), l.hosts...)
	l.mu.Unlock()
	for _, o := range hosts {
		if o == h {
			continue
		}
		for _, p := range []pair{{h.index, o.index}, {o.index, h.index}} {
			w := l.wire(p)
			w.mu.Lock()
			w.link.Cut = cut
			w.mu.Unlock()
		}
	}
}

// Bytes returns the bytes of IP packets that were sent from a to b.
func (l *Lab) Bytes(a, b *Host) int64 { return l.wire(pair{a.index, b.index}).bytes.Load() }

// Into returns the bytes of IP packets that h received from all hosts.
func (l *Lab) Into(h *Host) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	for p, w := range l.wires {
		if p.to == h.index {
			n += w.bytes.Load()
		}
	}
	return n
}

// close removes the lab: first the devices, so that the carriers end.
func (l *Lab) close() {
	l.mu.Lock()
	hosts := l.hosts
	l.mu.Unlock()
	for _, h := range hosts {
		h.tun.Close()
	}
	l.group.Wait()
	for _, w := range l.wires {
		w.close()
	}
	for _, h := range hosts {
		if out, err := exec.Command("ip", "netns", "del", h.ns).CombinedOutput(); err != nil {
			l.t.Errorf("remove host %s: %v: %s", h.Name, err, out)
		}
	}
}

func (h *Host) ip(args ...string) {
	h.lab.t.Helper()
	h.lab.ip(append([]string{"-n", h.ns}, args...)...)
}

func (h *Host) run(program string, args ...string) {
	h.lab.t.Helper()
	if out, err := h.Command(program, args...).CombinedOutput(); err != nil {
		h.lab.t.Fatalf("%s %s on %s: %v: %s", program, strings.Join(args, " "), h.Name, err, out)
	}
}

func (l *Lab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// addrOf returns the address of the host with this index, and indexOf undoes it.
func addrOf(index int) netip.Addr { return netip.AddrFrom4([4]byte{45, 77, 0, byte(index + 1)}) }

var errNotOurs = errors.New("not an address of the lab")

func indexOf(a [4]byte) (int, error) {
	if a[0] != 45 || a[1] != 77 || a[2] != 0 || a[3] == 0 {
		return 0, errNotOurs
	}
	return int(a[3]) - 1, nil
}
