package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
)

// worker is a Backend with one job, whose events and output the test sets.
type worker struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced when there is more
	submitted []Request
	cancelled []string
	events    []Event
	out       []byte
	joined    []string
	published []Publication
}

func (k *worker) more(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// wait returns a channel that is closed at the next change. k.mu is held.
func (k *worker) wait() <-chan struct{} {
	if k.changed == nil {
		k.changed = make(chan struct{})
	}
	return k.changed
}

func (k *worker) emit(e Event) {
	k.more(func() { e.Seq = len(k.events); k.events = append(k.events, e) })
}

func (k *worker) print(s string) { k.more(func() { k.out = append(k.out, s...) }) }

func (k *worker) Submit(_ context.Context, r Request) (Job, error) {
	k.more(func() { k.submitted = append(k.submitted, r) })
	return Job{ID: "j-1", State: JobRunning, Labels: r.Labels}, nil
}

func (k *worker) Follow(ctx context.Context, id string, from int, each func(Event) error) error {
	if id != "j-1" {
		return Errorf(CodeMissing, "no job %s", id)
	}
	for {
		k.mu.Lock()
		fresh, changed := k.events[min(from, len(k.events)):], k.wait()
		k.mu.Unlock()
		for _, e := range fresh {
			if err := each(e); err != nil || e.Kind.Last() {
				return err
			}
		}
		from += len(fresh)
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (k *worker) Logs(ctx context.Context, _ string, w Watch) error {
	for done := 0; ; {
		k.mu.Lock()
		fresh, changed := k.out[done:], k.wait()
		over := len(k.events) > 0 && k.events[len(k.events)-1].Kind.Last()
		k.mu.Unlock()
		if w.Stdout != nil && len(fresh) > 0 {
			if _, err := w.Stdout.Write(fresh); err != nil {
				return err
			}
		}
		done += len(fresh)
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (k *worker) Cancel(_ context.Context, id string) error {
	k.more(func() { k.cancelled = append(k.cancelled, id) })
	return nil
}

var aPeer = Peer{
	DID: "did:key:z6MkPeer", PeerID: "12D3KooW", Role: RoleMember, Addrs: []string{"/ip4/127.0.0.1/tcp/1"},
	Connected: true, RTT: 3 * time.Millisecond, Seen: time.Unix(5, 0).UTC(),
	Capacity: &Capacity{Engines: []string{"liftoff_v1"}, Labels: map[string]string{"zone": "a"}, Slots: 2, FreeSlots: 1, Queue: time.Second},
}

func (k *worker) Self(context.Context) (Peer, error)    { return aPeer, nil }
func (k *worker) Peers(context.Context) ([]Peer, error) { return []Peer{aPeer, aPeer}, nil }

func (k *worker) Connect(_ context.Context, addr string) (Peer, error) {
	if !strings.Contains(addr, "/p2p/") {
		return Peer{}, Errorf(CodeUsage, "%q names no peer", addr)
	}
	return aPeer, nil
}

func (k *worker) Cluster(context.Context) (ClusterInfo, error) {
	return ClusterInfo{}, Errorf(CodeMissing, "in no cluster")
}

func (k *worker) InitCluster(context.Context) (ClusterInfo, error) {
	return ClusterInfo{DID: "did:key:z6MkCluster", Role: RoleAdmin}, nil
}

func (k *worker) Invite(_ context.Context, i Invitation) (string, error) {
	return fmt.Sprintf("token for %d uses in %v", i.Uses, i.Valid), nil
}

func (k *worker) JoinCluster(_ context.Context, token string) (ClusterInfo, error) {
	k.joined = append(k.joined, token)
	return ClusterInfo{DID: "did:key:z6MkCluster", Role: RoleMember}, nil
}

func (k *worker) Members(context.Context) ([]Member, error) {
	return []Member{{DID: "did:key:z6MkPeer", Role: RoleMember, Issued: time.Unix(1, 0).UTC(), Expires: time.Unix(2, 0).UTC()}}, nil
}

func (k *worker) Revoke(_ context.Context, did string) error {
	return Errorf(CodeDenied, "%s is an admin", did)
}

func (k *worker) Publish(_ context.Context, root cid.Cid) error {
	k.published = append(k.published, Publication{root, time.Unix(7, 0).UTC()})
	return nil
}

func (k *worker) Unpublish(_ context.Context, root cid.Cid) error {
	return Errorf(CodeMissing, "%s is not published", root)
}

func (k *worker) Published(context.Context) ([]Publication, error) { return k.published, nil }

func TestNetworkCrosses(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	c, ctx := dial(t, path), t.Context()

	self, err := c.Self(ctx)
	check(t, "Self", self, aPeer, err)
	peers, err := c.Peers(ctx)
	check(t, "Peers", peers, []Peer{aPeer, aPeer}, err)
	p, err := c.Connect(ctx, "/ip4/127.0.0.1/tcp/1/p2p/x")
	check(t, "Connect", p, aPeer, err)
	if _, err := c.Connect(ctx, "nowhere"); codeOf(err) != CodeUsage {
		t.Errorf("Connect without an address: %v", err)
	}

	if _, err := c.Cluster(ctx); codeOf(err) != CodeMissing {
		t.Errorf("Cluster without a cluster: %v", err)
	}
	f, err := c.InitCluster(ctx)
	check(t, "InitCluster", f, ClusterInfo{DID: "did:key:z6MkCluster", Role: RoleAdmin}, err)
	token, err := c.Invite(ctx, Invitation{Uses: 3, Valid: time.Hour})
	check(t, "Invite", token, "token for 3 uses in 1h0m0s", err)
	f, err = c.JoinCluster(ctx, token)
	check(t, "JoinCluster", f, ClusterInfo{DID: "did:key:z6MkCluster", Role: RoleMember}, err)
	check(t, "joined", m.joined, []string{token}, nil)
	members, err := c.Members(ctx)
	want, _ := m.Members(ctx)
	check(t, "Members", members, want, err)
	if err := c.Revoke(ctx, "did:key:z6MkPeer"); codeOf(err) != CodeDenied {
		t.Errorf("Revoke: %v", err)
	}

	root := rawCID([]byte("root"))
	if err := c.Publish(ctx, root); err != nil {
		t.Fatal(err)
	}
	published, err := c.Published(ctx)
	check(t, "Published", published, m.published, err)
	if err := c.Unpublish(ctx, root); codeOf(err) != CodeMissing {
		t.Errorf("Unpublish: %v", err)
	}
	if err := c.Publish(ctx, cid.Undef); codeOf(err) != CodeUsage {
		t.Errorf("Publish without a CID: %v", err)
	}
}

// check compares the return values of a call.
func check(t *testing.T, what string, got, want any, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b cid.Cid) bool { return a == b })); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestSubmitOutlivesTheClient(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	c := dial(t, path)
	asked := Request{
		Task: testTask(), Where: "did:key:z6MkPeer", Need: map[string]string{"gpu": "yes"}, Prefer: map[string]string{"zone": "a"},
		Runs: 3, Priority: -2, Publish: true, Labels: map[string]string{"a": "b"}, Keep: KeepForever,
	}
	j, err := c.Submit(t.Context(), asked)
	if err != nil || j.ID != "j-1" || j.State != JobRunning {
		t.Fatalf("Submit: %+v, %v", j, err)
	}
	check(t, "what was submitted", m.submitted, []Request{asked}, nil)
	c.Close()
	if len(m.cancelled) > 0 {
		t.Error("the job was cancelled with its client")
	}
	if err := dial(t, path).Cancel(t.Context(), "j-1"); err != nil || len(m.cancelled) != 1 {
		t.Errorf("Cancel: %v, %v", m.cancelled, err)
	}
}

func TestFollowIsLive(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	c := dial(t, path)
	said := []Event{
		{At: time.Unix(1, 0).UTC(), Kind: EventSubmitted, Text: "submitted"},
		{Seq: 1, At: time.Unix(2, 0).UTC(), Kind: EventAwarded, Text: "a peer has it", Peer: aPeer.DID, Attempt: 1, Fields: map[string]string{"missing": "0"}},
		{Seq: 2, At: time.Unix(3, 0).UTC(), Kind: EventDone, Text: "done"},
	}
	m.emit(said[0])
	var got []Event
	err := c.Follow(t.Context(), "j-1", 0, func(e Event) error { // each event arrives before the next one is made
		got = append(got, e)
		if n := len(got); n < len(said) {
			m.emit(said[n])
		}
		return nil
	})
	check(t, "Follow", got, said, err)
	got = nil
	err = c.Follow(t.Context(), "j-1", 2, func(e Event) error { got = append(got, e); return nil })
	check(t, "Follow from 2", got, said[2:], err)
	enough := errors.New("enough")
	if err := c.Follow(t.Context(), "j-1", 0, func(Event) error { return enough }); err != enough {
		t.Errorf("an error of each: %v", err)
	}
	if err := c.Follow(t.Context(), "j-2", 0, nil); codeOf(err) != CodeMissing {
		t.Errorf("Follow of an unknown job: %v", err)
	}
	for _, id := range []string{"", "../run", "j-1?x", "J"} {
		if err := c.Follow(t.Context(), id, 0, nil); codeOf(err) != CodeUsage {
			t.Errorf("Follow %q: %v", id, err)
		}
	}
}

func TestLogsAreLive(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	c := dial(t, path)
	m.print("one\n")
	var got strings.Builder
	err := c.Logs(t.Context(), "j-1", Watch{Stdout: writerFunc(func(b []byte) (int, error) {
		switch got.Write(b); got.String() {
		case "one\n":
			m.print("two\n")
		case "one\ntwo\n":
			m.emit(Event{Kind: EventDone})
		}
		return len(b), nil
	})})
	check(t, "Logs", got.String(), "one\ntwo\n", err)
}

// A huge event loses the parts that programs do not branch on.
func TestEventIsBounded(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	m.emit(Event{Kind: EventNote, Text: strings.Repeat("é", maxEvent), Fields: map[string]string{"x": strings.Repeat("y", maxEvent)}})
	m.emit(Event{Kind: EventFailed})
	var got []Event
	err := dial(t, path).Follow(t.Context(), "j-1", 0, func(e Event) error { got = append(got, e); return nil })
	if err != nil || len(got) != 2 || got[0].Fields != nil || len(got[0].Text) == 0 || len(got[0].Text) > maxEvent {
		t.Errorf("got %d events, %v", len(got), err)
	}
}

func TestRunShowsEvents(t *testing.T) {
	said := Event{Seq: 4, At: time.Unix(2, 0).UTC(), Kind: EventLost, Text: "gone", Peer: aPeer.DID}
	m := &memory{run: func(_ context.Context, _ Request, w Watch) (Job, error) {
		if w.Event != nil {
			w.Event(said)
		}
		return Job{ID: "j-1"}, nil
	}}
	_, path := serve(t, m)
	var got []Event
	_, err := dial(t, path).Run(t.Context(), Request{Task: testTask()}, Watch{Event: func(e Event) { got = append(got, e) }})
	check(t, "Run", got, []Event{said}, err)
}
