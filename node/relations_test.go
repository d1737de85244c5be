package node_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	lpeer "github.com/libp2p/go-libp2p/core/peer"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// pair is a node and another peer with one relation to it.
type pair struct {
	n    *serving
	self lpeer.AddrInfo // of n
	did  string         // of n
	b    *barePeer
	gate *gate
	dir  string // of n

	relation string
	err      error // of the peer's connection attempt
}

const openFuel = 1000 // the most fuel that peers without full limits may request

func limitedTo(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// newPair creates a node with one slot, and a peer with the given relation to it.
func newPair(t *testing.T, relation string) *pair {
	t.Helper()
	return newPairOf(t, relation, newBarePeer(t), func(*node.NetworkConfig) {})
}

func newPairOf(t *testing.T, relation string, b *barePeer, change func(*node.NetworkConfig)) *pair {
	t.Helper()
	x := &pair{b: b, gate: newGate(), dir: t.TempDir(), relation: relation}
	id := x.b.h.ID().String()
	cfg := node.Config{
		Dir: x.dir, Grace: time.Second,
		Executors: runtime.Executors{script{"gate": x.gate.run, "hello": guests["hello"], "read": guests["read"]}},
		Network: &node.NetworkConfig{
			Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Slots: 1, Memory: 64 << 30, Relay: true, Bitswap: true,
			OpenCeiling: job.Limits{Fuel: openFuel}, Market: quick, Placement: quickPlacement,
		},
	}
	switch relation {
	case "content":
		cfg.Network.Policy.AllowPeers = []string{id}
	case "open":
		cfg.Network.Policy.Open = true
	case "granted":
		cfg.Network.Policy.AllowDIDs = []job.DID{x.b.did}
	}
	change(cfg.Network)
	if relation != "candidate" {
		s, err := node.Join(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Cluster.InitCluster(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	x.n = serve(t, cfg)
	self, err := x.n.Identity.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x.did, x.self = self.DID, infoOf(t, x.n)
	ctx := limitedTo(t, 20*time.Second)
	switch relation {
	case "owner":
	case "provider":
		_, x.err = x.n.Peers.Connect(ctx, x.b.addrs()[0]+"/p2p/"+id)
	case "member":
		token, err := x.n.Cluster.Invite(ctx, api.Invitation{})
		if err != nil {
			t.Fatal(err)
		}
		x.err = x.b.join(ctx, x.self, token)
	case "candidate":
		token := cluster.Token{Cluster: x.b.did, Peer: x.b.did, Addrs: x.b.addrs()}
		ended, cancel := context.WithCancel(t.Context())
		joined := make(chan struct{})
		go func() {
			defer close(joined)
			x.n.Cluster.JoinCluster(ended, token.String())
		}()
		t.Cleanup(func() { cancel(); <-joined })
		<-x.b.joining
	default:
		x.err = x.b.connect(ctx, x.self)
	}
	if x.err != nil && relation != "unknown" {
		t.Fatal(x.err)
	}
	return x
}

// listed returns the peer as the node lists it.
func (x *pair) listed(t *testing.T) (api.Peer, bool) {
	t.Helper()
	peers, err := x.n.Peers.Peers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(peers, func(p api.Peer) bool { return p.PeerID == x.b.h.ID().String() })
	if i < 0 {
		return api.Peer{}, false
	}
	return peers[i], true
}

// trials try each action between a node and a peer that attempts everything it can.
var trials = map[string]func(t *testing.T, x *pair) bool{
	"stay connected": func(t *testing.T, x *pair) bool {
		p, ok := x.listed(t)
		return x.err == nil && ok && p.Connected
	},
	"send jobs": func(t *testing.T, x *pair) bool {
		return x.mayRun(t, job.Limits{Fuel: openFuel})
	},
	"use full limits": func(t *testing.T, x *pair) bool {
		return x.mayRun(t, job.Limits{Fuel: openFuel + 1})
	},
	"receive jobs": func(t *testing.T, x *pair) bool {
		asked := []bool{x.asksWhenBusy(t), x.asksFor(t, api.WhereNetwork), x.asksFor(t, string(x.b.did))}
		if asked[0] != asked[1] || asked[1] != asked[2] {
			t.Errorf("asked when the slot is busy, for a network job, and when named: %v", asked)
		}
		return asked[0] || asked[1] || asked[2]
	},
	"be asked for blocks": func(t *testing.T, x *pair) bool {
		fetched, read := x.b.has(t, "a block that is fetched"), x.b.has(t, "a block that a job reads")
		err := x.n.Data.Fetch(limitedTo(t, 20*time.Second), fetched)
		if err != nil && codeOf(err) != api.CodeMissing {
			t.Error(err)
		}
		put(t, x.n.Session, "module")
		_, jerr := x.n.Jobs.Run(limitedTo(t, 20*time.Second), api.Request{Task: task(put(t, x.n.Session, "module"), "read", read)}, api.Watch{})
		for c, err := range map[cid.Cid]error{fetched: err, read: jerr} {
			if saw := x.b.blocks.askedFor(c); saw != (err == nil) {
				t.Errorf("peer was asked: %v, node has the block: %v", saw, err)
			}
		}
		if (err == nil) != (jerr == nil) {
			t.Errorf("fetched: %v, read by a job: %v", err, jerr)
		}
		return x.b.blocks.askedFor(fetched) || x.b.blocks.askedFor(read)
	},
	"receive published blocks": func(t *testing.T, x *pair) bool {
		c := put(t, x.n.Session, "published")
		if err := x.n.Publishing.Publish(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		_, err := x.b.gets(limitedTo(t, 20*time.Second), x.self.ID, c)
		return err == nil
	},
	"receive other blocks": func(t *testing.T, x *pair) bool {
		_, err := x.b.gets(limitedTo(t, 20*time.Second), x.self.ID, put(t, x.n.Session, "private"))
		return err == nil
	},
	"be counted": func(t *testing.T, x *pair) bool {
		p, ok := x.listed(t) // it announced its capacity before it was connected
		return ok && p.Capacity != nil
	},
	"be dialed": func(t *testing.T, x *pair) bool {
		if x.relation == "candidate" { // it was dialed for its token, and is not dialed after that attempt has failed
			to := lpeer.AddrInfo{ID: x.b.h.ID(), Addrs: x.b.h.Addrs()}
			eventually(t, "dials of the candidate are refused", func() bool {
				node.Cut(x.n.Session)
				return node.Dial(limitedTo(t, 20*time.Second), x.n.Session, to) != nil
			})
			x.b.mu.Lock()
			defer x.b.mu.Unlock()
			return x.b.dialed > 0
		}
		eventually(t, "the peers are disconnected", func() bool {
			node.Cut(x.n.Session)
			return len(x.b.h.Network().ConnsToPeer(x.self.ID)) == 0
		})
		x.b.mu.Lock()
		before := x.b.dialed
		x.b.mu.Unlock()
		err := node.Dial(limitedTo(t, 20*time.Second), x.n.Session, lpeer.AddrInfo{ID: x.b.h.ID(), Addrs: x.b.h.Addrs()})
		x.b.mu.Lock()
		defer x.b.mu.Unlock()
		if err != nil && x.b.dialed != before {
			t.Errorf("the peer was dialed, but: %v", err)
		}
		return err == nil
	},
	"join gossip": func(t *testing.T, x *pair) bool {
		items, err := x.b.say(limitedTo(t, 20*time.Second), x.self.ID, lookupProtocol, map[byte][]byte{'w': []byte(x.did)})
		return err == nil && len(items) > 0
	},
	"use relays": func(t *testing.T, x *pair) bool {
		_, err := circuit.Reserve(limitedTo(t, 20*time.Second), x.b.h, lpeer.AddrInfo{ID: x.self.ID})
		if tested := x.b.testsReach(limitedTo(t, 20*time.Second), x.self.ID); tested != (err == nil) {
			t.Errorf("relay reservation: %v, AutoNAT answers: %v", err, tested)
		}
		return err == nil
	},
}

// mayRun reports whether the node bids for a job of the peer.
func (x *pair) mayRun(t *testing.T, limits job.Limits) bool {
	t.Helper()
	tk := task(x.b.has(t, "a module of the peer"), "hello")
	conv, _, err := x.b.asksFor(limitedTo(t, 20*time.Second), x.self.ID, tk, limits)
	if err != nil {
		return false
	}
	conv.Close("cancelled")
	return true
}

// asksFor reports whether the peer is asked for a job of the node.
func (x *pair) asksFor(t *testing.T, where string) bool {
	t.Helper()
	mod, in := put(t, x.n.Session, "the module of "+where), put(t, x.n.Session, "the input of "+where)
	_, err := x.n.Jobs.Run(limitedTo(t, time.Minute), api.Request{Task: task(mod, "hello", in), Where: where}, api.Watch{})
	if codeOf(err) != api.CodeNoPeer {
		t.Errorf("job that the node may not run itself: %v", err)
	}
	return x.told(t, mod, in)
}

// told reports whether the peer was asked for a bid, and checks that it has not learned the CIDs in another way.
func (x *pair) told(t *testing.T, cids ...cid.Cid) bool {
	t.Helper()
	asked := x.b.wasAsked() > 0
	for _, c := range cids {
		if x.b.blocks.askedFor(c) && !asked {
			t.Errorf("the peer was asked for %s", c)
		}
	}
	return asked
}

// asksWhenBusy reports whether the peer is asked for a job while the node's slot is taken.
func (x *pair) asksWhenBusy(t *testing.T) bool {
	t.Helper()
	ctx := limitedTo(t, time.Minute)
	ended := make(chan error, 1)
	go func() {
		_, err := x.n.Jobs.Run(ctx, api.Request{Task: task(put(t, x.n.Session, "the long job"), "gate")}, api.Watch{})
		ended <- err
	}()
	<-x.gate.begun
	mod, in := put(t, x.n.Session, "module"), put(t, x.n.Session, "input")
	decided := make(chan struct{}, 10)
	r := api.Request{Task: task(mod, "hello", in)}
	r.Task.Env = map[string]string{"SECRET": "1"}
	j := make(chan api.Job, 1)
	go func() {
		got, err := x.n.Jobs.Run(ctx, r, api.Watch{Event: func(e api.Event) {
			if e.Kind == api.EventStarted {
				decided <- struct{}{}
			}
		}})
		if err != nil {
			t.Errorf("waiting job: %v", err)
		}
		j <- got
	}()
	<-decided
	close(x.gate.open)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := <-j; got.Where != x.did {
		t.Errorf("ran at %s", got.Where)
	}
	return x.told(t, mod, in)
}

// owners try the same actions for the node's owner, which uses the API and needs no connection.
var owners = map[string]func(t *testing.T, x *pair) bool{
	"stay connected": func(t *testing.T, x *pair) bool {
		peers, err := x.n.Peers.Peers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(peers) > 0
	},
	"send jobs":       func(t *testing.T, x *pair) bool { return x.runsOwn(t, job.Limits{Fuel: openFuel}) },
	"receive jobs":    func(t *testing.T, x *pair) bool { return x.runsOwn(t, job.Limits{Fuel: openFuel}) },
	"use full limits": func(t *testing.T, x *pair) bool { return x.runsOwn(t, job.Limits{Fuel: openFuel + 1}) },
	"be asked for blocks": func(t *testing.T, x *pair) bool {
		return x.n.Data.Fetch(limitedTo(t, 20*time.Second), x.b.has(t, "elsewhere")) == nil
	},
	"receive published blocks": func(t *testing.T, x *pair) bool {
		c := put(t, x.n.Session, "published")
		if err := x.n.Publishing.Publish(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		b, err := x.n.Data.Get(t.Context(), c)
		return err == nil && string(b) == "published"
	},
	"receive other blocks": func(t *testing.T, x *pair) bool {
		b, err := x.n.Data.Get(t.Context(), put(t, x.n.Session, "private"))
		return err == nil && string(b) == "private"
	},
	"be counted": func(t *testing.T, x *pair) bool {
		peers, err := x.n.Peers.Peers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(peers, func(p api.Peer) bool { return p.DID == x.did })
	},
	"be dialed": func(t *testing.T, x *pair) bool {
		_, err := x.n.Peers.Connect(t.Context(), x.self.Addrs[0].String()+"/p2p/"+x.self.ID.String())
		return err == nil
	},
	"join gossip": func(t *testing.T, x *pair) bool {
		_, err := x.n.Jobs.Run(limitedTo(t, time.Minute), api.Request{Task: task(put(t, x.n.Session, "module"), "hello"), Where: api.WhereNetwork}, api.Watch{})
		return codeOf(err) != api.CodeNoPeer // a node does not hear its own announcement
	},
	"use relays": func(t *testing.T, x *pair) bool {
		_, err := x.n.Peers.Connect(t.Context(), x.self.Addrs[0].String()+"/p2p/"+x.self.ID.String()+"/p2p-circuit/p2p/"+x.self.ID.String())
		return err == nil
	},
}

func (x *pair) runsOwn(t *testing.T, limits job.Limits) bool {
	t.Helper()
	mod := put(t, x.n.Session, "module")
	j, err := x.n.Jobs.Run(limitedTo(t, time.Minute), api.Request{Task: task(mod, "hello"), Limits: limits}, api.Watch{})
	return err == nil && j.Where == x.did && !j.Remote
}

// relationTable reads the table of docs/protocol.md: yes or no, by action and relation.
func relationTable(t *testing.T) (relations []string, table map[string][]string) {
	t.Helper()
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	table = map[string][]string{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == "action" && slices.Contains(cells, "unknown"):
			relations = cells[1:]
		case relations == nil || strings.HasPrefix(cells[0], "---"):
		case len(cells) == len(relations)+1:
			table[cells[0]] = cells[1:]
		default:
			return relations, table
		}
	}
	return relations, table
}

// TestRelations checks each cell of the table of docs/protocol.md between real hosts.
func TestRelations(t *testing.T) {
	relations, table := relationTable(t)
	if len(relations) != len(host.Relations())+1 || len(table) != len(host.Actions()) || len(trials) != len(table) || len(owners) != len(table) {
		t.Fatalf("%d relations, %d actions, %d and %d trials", len(relations), len(table), len(trials), len(owners))
	}
	for i, relation := range relations {
		for action, cells := range table {
			t.Run(fmt.Sprintf("%s/%s", relation, action), func(t *testing.T) {
				try := trials[action]
				if relation == "owner" {
					try = owners[action]
				}
				if got, want := try(t, newPair(t, relation)), cells[i] == "yes"; got != want {
					t.Errorf("allowed: %v, want %v", got, want)
				}
			})
		}
	}
}
