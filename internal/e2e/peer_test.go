package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// place is where a peer's process runs: this machine, or a host of a lab.
type place interface {
	Command(program string, args ...string) *exec.Cmd
}

// here is this machine: a peer on loopback.
type here struct{}

func (here) Command(program string, args ...string) *exec.Cmd { return exec.Command(program, args...) }

// peer is a liftoff serve, in its own process that can be killed and started again.
type peer struct {
	repo
	name   string
	place  place
	listen []string // multiaddrs
	flags  []string

	mu    sync.Mutex
	cmd   *exec.Cmd
	log   *output
	ended chan struct{}
	token string // the join token, without the command
}

// output collects what a process prints.
type output struct {
	mu    sync.Mutex
	bytes bytes.Buffer
	grown chan struct{} // gets a value after a write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.grown <- struct{}{}:
	default:
	}
	return o.bytes.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes.String()
}

// waitFor returns the rest of the first line that begins with prefix.
func (o *output) waitFor(prefix string, ended <-chan struct{}, limit time.Duration) (string, error) {
	timeout := time.After(limit)
	for {
		for line := range strings.Lines(o.String()) {
			if rest, ok := strings.CutPrefix(line, prefix); ok && strings.HasSuffix(rest, "\n") {
				return strings.TrimSpace(rest), nil
			}
		}
		select {
		case <-o.grown:
		case <-ended:
			return "", fmt.Errorf("process ended without the line %q", prefix)
		case <-timeout:
			return "", fmt.Errorf("no line %q within %v", prefix, limit)
		}
	}
}

// freePort returns a free port, for TCP and UDP.
func freePort(t testing.TB) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		l.Close()
		if err == nil {
			u.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// newPeer prepares a peer; start starts it. ip is the address that it listens on.
func newPeer(t testing.TB, name string, at place, ip string, flags ...string) *peer {
	t.Helper()
	port := 4017
	if _, ok := at.(here); ok {
		port = freePort(t)
	}
	return &peer{
		repo: newRepo(t), name: name, place: at, flags: flags,
		listen: []string{fmt.Sprintf("/ip4/%s/tcp/%d", ip, port), fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", ip, port)},
	}
}

// start starts the peer, in the cluster of join if that is set, and waits until it serves
// commands.
func (p *peer) start(join string) {
	p.t.Helper()
	if err := p.tryStart(join); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) tryStart(join string) error {
	args := []string{"serve"}
	for _, l := range p.listen {
		args = append(args, "--listen", l)
	}
	args = append(args, p.flags...)
	if join != "" {
		args = append(args, "--join", join)
	}
	cmd := p.place.Command(liftoff, args...)
	cmd.Env = append(os.Environ(), "LIFTOFF_PATH="+p.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, log := &output{grown: make(chan struct{}, 1)}, &output{grown: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = out, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	p.mu.Lock()
	first := p.cmd == nil
	p.cmd, p.log, p.ended = cmd, log, ended
	p.mu.Unlock()
	go func() { cmd.Wait(); close(ended) }()
	p.t.Cleanup(p.kill)
	if join == "" && first { // it creates a cluster and prints a join token
		token, err := out.waitFor("liftoff serve --join ", ended, 20*time.Second)
		if err != nil {
			return fmt.Errorf("peer %s: %w\n%s", p.name, err, log)
		}
		p.token = token
		return nil
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if strings.Contains(log.String(), `msg="this node is a member of a cluster"`) {
			return nil
		}
		select {
		case <-log.grown:
		case <-ended:
			return fmt.Errorf("peer %s ended\n%s", p.name, log)
		case <-time.After(time.Until(deadline)):
			return fmt.Errorf("peer %s did not start\n%s", p.name, log)
		}
	}
}

// pid returns the pid of the peer's process.
func (p *peer) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// kill kills the process and its children at once, as a power failure would.
func (p *peer) kill() { p.end(syscall.SIGKILL) }

// stop shuts the process down gracefully.
func (p *peer) stop() { p.end(syscall.SIGTERM) }

func (p *peer) end(sig syscall.Signal) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	select {
	case <-ended:
		return
	default:
	}
	syscall.Kill(-cmd.Process.Pid, sig)
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		p.t.Errorf("peer %s did not shut down gracefully\n%s", p.name, p.log)
	}
}

// did returns the peer's DID.
func (p *peer) did() string { return "did:key:" + after(p.run("id"), "did:key:") }

// after returns the word that follows mark.
func after(text, mark string) string {
	_, rest, _ := strings.Cut(text, mark)
	if i := strings.IndexAny(rest, " \n\t"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// fleet starts n peers of one cluster on loopback and waits until the first, which created it,
// has the capacity of all others.
func fleet(t testing.TB, n int, flags ...string) []*peer {
	t.Helper()
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = newPeer(t, fmt.Sprint("p", i), here{}, "127.0.0.1", flags...)
	}
	join(t, peers)
	return peers
}

// join starts the peers, the first one alone and the rest in its cluster.
func join(t testing.TB, peers []*peer) {
	t.Helper()
	peers[0].start("")
	token := peers[0].token
	if len(peers) > 2 {
		token = peers[0].run("cluster", "invite", "--uses", fmt.Sprint(len(peers)))
	}
	for _, p := range peers[1:] {
		p.start(token)
	}
	awaitPeers(t, peers)
}

// awaitPeers waits until every peer has the capacity of every other one.
func awaitPeers(t testing.TB, peers []*peer) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for _, p := range peers {
		for {
			known := strings.Count(p.run("peers"), " connected ")
			if known >= len(peers)-1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("peer %s is connected to %d of %d others\n%s\n%s", p.name, known, len(peers)-1, p.run("peers"), p.log)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// file creates a file of n random bytes.
func file(t testing.TB, seed uint64, n int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, noise(rand.New(rand.NewPCG(seed, 2)), n), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// eventually waits until ok returns true.
func eventually(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, limit)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
