package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/netlab"
)

// These tests run peers on their own hosts, in network namespaces with links between them. They
// need root, and skip with a message without it.

// labPeer prepares a peer on a host of a lab.
func labPeer(t testing.TB, h *netlab.Host, flags ...string) *peer {
	t.Helper()
	return newPeer(t, h.Name, h, h.Addr.String(), flags...)
}

// TestLabLocality counts the bytes on the links: of five hosts, 5 ms apart, one holds the
// input. Its job runs there and no input block leaves it.
func TestLabLocality(t *testing.T) {
	lab := netlab.New(t, netlab.Link{Delay: 5 * time.Millisecond})
	var hosts []*netlab.Host
	var peers []*peer
	for i := range 5 {
		h := lab.Host(fmt.Sprint("h", i))
		hosts, peers = append(hosts, h), append(peers, labPeer(t, h))
	}
	join(t, peers)
	const size = 64 << 20
	input := peers[2].run("add", "--quiet", file(t, 3, size))
	before := lab.Bytes(hosts[2], hosts[0])
	got := peers[0].try(nil, "run", "--json", hashWasm, "--input", input)
	if r := decodeRan(t, got); got.code != 0 || r.Where != peers[2].did() {
		t.Fatalf("exit code %d, at %q\n%s", got.code, r.Where, got.stderr)
	}
	if sent := lab.Bytes(hosts[2], hosts[0]) - before; sent > size/100 {
		t.Errorf("the holder sent %d bytes for an input of %d", sent, size)
	}
}

// TestLabCut cuts the runner off during a run: another peer finishes the job; after the link is
// restored, the two work together again.
func TestLabCut(t *testing.T) {
	lab := netlab.New(t, netlab.Link{Delay: 2 * time.Millisecond})
	var hosts []*netlab.Host
	var peers []*peer
	for i := range 3 {
		h := lab.Host(fmt.Sprint("h", i))
		hosts, peers = append(hosts, h), append(peers, labPeer(t, h, "--slots", "1"))
	}
	join(t, peers)
	id := strings.TrimSpace(peers[0].run("run", "--detach", "--where", "network", workWasm, "--", "4000", "cut"))
	var runner int
	eventually(t, "the job runs", 30*time.Second, func() bool {
		d := peers[0].run("job", "describe", id)
		for i := range peers[1:] {
			did := peers[i+1].did()
			if strings.Contains(d, "awarded to "+did[8:14]+"…"+did[len(did)-6:]) {
				runner = i + 1
			}
		}
		return runner != 0 && strings.Contains(d, "is running the job")
	})
	lab.Cut(hosts[runner], true)
	eventually(t, "another peer finishes the job", 90*time.Second, func() bool {
		return strings.Contains(peers[0].run("job", "describe", id), "state ok")
	})
	if d := peers[0].run("job", "describe", id); strings.Contains(d, "ran_on "+peers[runner].did()) {
		t.Errorf("the job ran on the disconnected peer\n%s", d)
	}
	lab.Cut(hosts[runner], false)
	eventually(t, "the peers are connected again", time.Minute, func() bool {
		return strings.Count(peers[0].run("peers"), " connected ") == 2
	})
}

// TestLabNAT connects two peers, each behind a NAT router, through a member that is a relay: a
// job of one runs at the other. If the routers keep ports, hole punching connects the two
// directly; if each connection gets its own port, hole punching is impossible and all traffic
// uses the relay.
func TestLabNAT(t *testing.T) {
	for _, c := range []struct {
		name   string
		router func(*netlab.Lab, string) *netlab.Host
		flags  []string
		direct bool
	}{
		{"detected", (*netlab.Lab).Behind, nil, true},
		{"configured", (*netlab.Lab).Behind, []string{"--reachability", "private"}, true},
		{"strict routers", (*netlab.Lab).BehindStrict, []string{"--reachability", "private"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := netlab.New(t, netlab.Link{Delay: 2 * time.Millisecond})
			relay := labPeer(t, lab.Host("relay"), "--relay", "--store-only")
			a := labPeer(t, c.router(lab, "a"), append(c.flags, "--store-only")...)
			b := labPeer(t, c.router(lab, "b"), c.flags...)
			relay.start("")
			token := relay.run("cluster", "invite", "--uses", "2")
			a.start(token)
			b.start(token)
			began, did := time.Now(), b.did()
			t.Cleanup(func() {
				for _, p := range []*peer{relay, a, b} {
					if t.Failed() {
						t.Logf("%s:\n%s\n%s", p.name, p.try(nil, "peers", "--json").stdout, p.log)
					}
				}
			})
			eventually(t, "the two are connected", time.Minute, func() bool { return seen(t, a, did).Connected })
			t.Logf("connected after %v", time.Since(began).Round(time.Second))
			got := a.try(nil, "run", "--json", "--where", "network", workWasm, "--", "1", "nat")
			if r := decodeRan(t, got); got.code != 0 || r.Where != did {
				t.Fatalf("exit code %d, at %q\n%s", got.code, r.Where, got.stderr)
			}
			input := a.run("add", "--quiet", file(t, 6, 4<<20))
			if got := a.try(nil, "run", "--where", did, hashWasm, "--input", input); got.code != 0 || !strings.HasPrefix(got.stdout, fmt.Sprint(4<<20)) {
				t.Errorf("with an input: exit code %d, %q\n%s", got.code, got.stdout, got.stderr)
			}
			if !c.direct {
				if !seen(t, a, did).Relayed {
					t.Error("hole punching succeeded with strict routers: the lab does not test relays")
				}
				return
			}
			// libp2p tries three times per relayed connection, which a busy machine may miss: a
			// new connection is a new attempt.
			var renewed time.Time
			eventually(t, "a hole is punched", 2*time.Minute, func() bool {
				i := seen(t, a, did)
				if i.Connected && i.Relayed && time.Since(renewed) > 30*time.Second {
					if !renewed.IsZero() {
						b.stop()
						b.start("")
					}
					renewed = time.Now()
				}
				return i.Connected && !i.Relayed
			})
			t.Logf("direct connection after %v", time.Since(began).Round(time.Second))
		})
	}
}

// row is the part of a line of peers --json that these tests use.
type row struct {
	DID       string `json:"did"`
	Connected bool   `json:"connected"`
	Relayed   bool   `json:"relayed"`
}

// seen returns p's row of the peer did; the zero value if it has none.
func seen(t testing.TB, p *peer, did string) row {
	t.Helper()
	for line := range strings.Lines(p.run("peers", "--json")) {
		var r row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.DID == did {
			return r
		}
	}
	return row{}
}

// TestLabSlow fills a slow link in both directions, with a job's input and then its output:
// heartbeats still get through, and the job is not considered lost.
func TestLabSlow(t *testing.T) {
	lab := netlab.New(t, netlab.Link{Delay: 10 * time.Millisecond, Rate: 2 << 20})
	a, b := labPeer(t, lab.Host("a"), "--store-only"), labPeer(t, lab.Host("b"))
	join(t, []*peer{a, b})
	input := a.run("add", "--quiet", file(t, 7, 24<<20))
	got := a.try(nil, "run", "--json", "--where", "network", copyWasm, "--input", input)
	r := decodeRan(t, got)
	if got.code != 0 || r.Where != b.did() {
		t.Fatalf("exit code %d, at %q\n%s", got.code, r.Where, got.stderr)
	}
	if !r.at("lost").IsZero() || strings.Contains(got.stderr, "lost") {
		t.Errorf("the job was considered lost\n%s", got.stderr)
	}
	if err := a.complete(r.Output); err != nil {
		t.Error(err)
	}
}

// TestLabSparse reads a hundredth of a file that only another peer has: little more is
// transferred.
func TestLabSparse(t *testing.T) {
	lab := netlab.New(t, netlab.Link{Delay: 5 * time.Millisecond})
	holder, reader := lab.Host("holder"), lab.Host("reader")
	h, r := labPeer(t, holder, "--store-only"), labPeer(t, reader)
	join(t, []*peer{h, r})
	size := 256 << 20
	if os.Getenv("LIFTOFF_TEST_LARGE") != "" {
		size = 1 << 30
	}
	input := h.run("add", "--quiet", file(t, 4, size))
	before := lab.Bytes(holder, reader)
	want := size / 100
	got := r.try(nil, "run", sparseWasm, "--input", input, "--", fmt.Sprint(want>>20))
	if got.code != 0 || !strings.HasPrefix(got.stdout, fmt.Sprint(want>>20<<20)) {
		t.Fatalf("exit code %d, %q\n%s", got.code, got.stdout, got.stderr)
	}
	if came := lab.Bytes(holder, reader) - before; came > int64(size/50) {
		t.Errorf("fetched %d bytes for a read of %d", came, want)
	} else {
		t.Logf("fetched %d bytes for a read of %d out of %d", came, want, size)
	}
}

// TestLabAward submits a job to five idle peers, one of which holds the input, over links of 10
// ms: the award takes at most three round trips.
func TestLabAward(t *testing.T) {
	const rtt = 20 * time.Millisecond
	lab := netlab.New(t, netlab.Link{Delay: rtt / 2})
	var peers []*peer
	for i := range 6 {
		peers = append(peers, labPeer(t, lab.Host(fmt.Sprint("h", i))))
	}
	join(t, peers)
	input := peers[3].run("add", "--quiet", file(t, 5, 4<<20))
	var took []time.Duration
	for range 9 {
		got := peers[0].try(nil, "run", "--json", "--no-cache", hashWasm, "--input", input)
		r := decodeRan(t, got)
		if got.code != 0 || r.Where != peers[3].did() {
			t.Fatalf("exit code %d, at %q\n%s", got.code, r.Where, got.stderr)
		}
		r = describe(t, peers[0], r.Job)
		took = append(took, r.at("awarded").Sub(r.at("submitted")))
	}
	t.Logf("from submit to award: %v", took)
	best := took[0]
	for _, d := range took {
		best = min(best, d)
	}
	// The fastest of nine, since the machine may be busy.
	if best > 3*rtt+rtt/2 {
		t.Errorf("fastest award took %v, want at most three round trips, %v", best, 3*rtt)
	}
}

// BenchmarkLabRead reads 256 MiB from another peer inside a guest over a link of 10 ms,
// compared with ipfs cat between two Kubo daemons over such a link.
func BenchmarkLabRead(b *testing.B) {
	const size = 256 << 20
	lab := netlab.New(b, netlab.Link{Delay: 10 * time.Millisecond})
	holder, reader := labPeer(b, lab.Host("holder"), "--store-only"), labPeer(b, lab.Host("reader"))
	join(b, []*peer{holder, reader})
	var have, want *kubo
	if ipfs := kuboProgram(b); ipfs != "" {
		have, want = newKubo(b, ipfs), newKubo(b, ipfs)
		for i, k := range []*kubo{have, want} {
			h := lab.Host(fmt.Sprint("kubo", i))
			k.start(h, h.Addr.String())
		}
		want.run("swarm", "peering", "add", have.addr) // otherwise it does not ask peers at public addresses
		want.run("swarm", "connect", have.addr)
	} else {
		b.Log("SKIPPED: LIFTOFF_TEST_KUBO names no ipfs to compare with")
	}
	var ours, theirs series
	for i := range 3 {
		name := file(b, uint64(100+i), size)
		input := holder.run("add", "--quiet", name)
		began := time.Now()
		if got := reader.try(nil, "run", "--where", "local", hashWasm, "--input", input); got.code != 0 {
			b.Fatal(got.stderr)
		}
		ours = append(ours, time.Since(began).Seconds())
		if have == nil {
			continue
		}
		root := have.run("add", "-Q", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576", name)
		cat := want.command("cat", root)
		began = time.Now()
		if err := cat.Run(); err != nil {
			b.Fatal(err)
		}
		theirs = append(theirs, time.Since(began).Seconds())
	}
	ours.report(b, "liftoff-s")
	if have != nil {
		theirs.report(b, "kubo-s")
		theirs.over(ours).report(b, "kubo/liftoff")
	}
}

// TestLabWatcherVanishes disconnects a host from which two clients watch a job over TCP, in a
// session and without one: the connections are not closed, and within about two minutes, even
// on a loaded machine, the node has freed their resources.
func TestLabWatcherVanishes(t *testing.T) {
	if os.Getenv("LIFTOFF_TEST_LARGE") == "" {
		t.Skip("LIFTOFF_TEST_LARGE is not set: the test takes a minute")
	}
	lab := netlab.New(t, netlab.Link{Delay: 2 * time.Millisecond})
	server, client := lab.Host("server"), lab.Host("client")
	addr := server.Addr.String() + ":4018"
	p := labPeer(t, server, "--api-listen", addr)
	p.start("")
	token, err := os.ReadFile(p.dir + "/api.token")
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(p.run("run", "--detach", spinWasm))
	watch := func(program string, args ...string) *output {
		cmd := client.Command(program, args...)
		cmd.Env = append(os.Environ(), "LIFTOFF_PATH="+t.TempDir())
		out := &output{grown: make(chan struct{}, 1)}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return out
	}
	for _, out := range []*output{
		watch(liftoff, "--api", addr, "--token", strings.TrimSpace(string(token)), "job", "logs", "-f", id),
		watch("curl", "-sN", "-H", "Authorization: Bearer "+strings.TrimSpace(string(token)), "http://"+addr+"/v1/jobs/"+id+"/logs?stdout=1"),
	} {
		eventually(t, "the watcher sees the output", time.Minute, func() bool { return strings.Contains(out.String(), "spinning") })
	}
	open := func() (n int) {
		sockets, err := server.Command("cat", "/proc/net/tcp").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(sockets)) {
			// The local port in hex, and a state that is not LISTEN.
			if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[1], ":0FB2") && f[3] != "0A" {
				n++
			}
		}
		return n
	}
	if n := open(); n < 3 { // attach, its logs, and curl
		t.Fatalf("%d connections", n)
	}
	lab.Cut(client, true)
	began := time.Now()
	eventually(t, "the watchers' resources are freed", 2*time.Minute, func() bool { return open() == 0 })
	t.Logf("after %v", time.Since(began).Round(time.Second))
	if got := p.run("job", "describe", id); !strings.Contains(got, "running") {
		t.Errorf("the job no longer runs\n%s", got)
	}
	p.run("job", "cancel", id)
}
