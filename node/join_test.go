package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func TestOwnerAndAttached(t *testing.T) {
	dir := t.TempDir()
	owner := join(t, dir)
	if !owner.Owner {
		t.Fatal("the first session does not own the repo")
	}
	info, err := os.Stat(filepath.Join(dir, "api.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket: %v, %v", info, err)
	}
	client := join(t, dir)
	if client.Owner {
		t.Fatal("two sessions own the repo")
	}

	ctx := t.Context()
	c := put(t, client, "from the client")
	if b, err := owner.Data.Get(ctx, c); err != nil || string(b) != "from the client" {
		t.Fatalf("%q, %v", b, err)
	}
	c = put(t, owner, "from the owner")
	if b, err := client.Blocks.Get(ctx, c); err != nil || string(b.Data()) != "from the owner" {
		t.Fatalf("%q, %v", b.Data(), err)
	}

	absent := dag.NewBlock(cid.Raw, []byte("absent")).CID()
	for name, s := range map[string]*node.Session{"owner": owner, "client": client} {
		var missing *dag.NotFoundError
		if _, err := s.Blocks.Get(ctx, absent); !errors.As(err, &missing) || missing.CID != absent {
			t.Errorf("%s: Blocks.Get of an absent block: %v", name, err)
		}
		if _, err := s.Data.Get(ctx, absent); codeOf(err) != api.CodeMissing {
			t.Errorf("%s: Data.Get of an absent block: %v", name, err)
		}
		if has, err := s.Blocks.Has(ctx, absent); err != nil || has {
			t.Errorf("%s: Has of an absent block: %v, %v", name, has, err)
		}
		if err := s.Data.Put(ctx, api.Block{CID: absent, Data: []byte("other")}); codeOf(err) != api.CodeUsage {
			t.Errorf("%s: Put with a wrong CID: %v", name, err)
		}
		if err := s.Pins.Unpin(ctx, "none"); codeOf(err) != api.CodeMissing {
			t.Errorf("%s: Unpin of no pin: %v", name, err)
		}
		if err := s.Data.Sync(ctx); err != nil {
			t.Errorf("%s: Sync: %v", name, err)
		}
		pin := api.Pin{Name: name + " \n\x1b", Roots: []api.Root{{CID: c, Recursive: true}}, Expires: time.Now().Add(time.Hour)}
		if err := s.Pins.Pin(ctx, pin); err != nil {
			t.Errorf("%s: Pin: %v", name, err)
		}
	}
	ownPins, err := owner.Pins.Pins(ctx)
	if err != nil || len(ownPins) != 2 {
		t.Fatalf("pins of the owner: %v, %v", ownPins, err)
	}
	clientPins, err := client.Pins.Pins(ctx)
	if err != nil || fmt.Sprint(clientPins) != fmt.Sprint(ownPins) {
		t.Fatalf("pins of the client: %v, %v; of the owner: %v", clientPins, err, ownPins)
	}
	v, err := client.Maintenance.Check(ctx, nil)
	if err != nil || v.Blocks != 2 || v.Damaged != 0 {
		t.Fatalf("check: %+v, %v", v, err)
	}
}

// Blocks that an attached process has put are kept while it is attached, and may be collected afterwards.
func TestAttachedPutsAreKept(t *testing.T) {
	dir := t.TempDir()
	owner, client := join(t, dir), join(t, dir)
	c := put(t, client, "kept by the client")
	for _, s := range []*node.Session{owner, client} {
		if got, err := s.Maintenance.Collect(t.Context()); err != nil || got.Removed != 0 {
			t.Fatalf("collect: %+v, %v", got, err)
		}
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client's block can be collected", func() bool {
		got, err := owner.Maintenance.Collect(t.Context())
		return err == nil && got.Removed == 1
	})
	if has, err := owner.Data.Has(t.Context(), c); err != nil || has {
		t.Fatalf("has %v, %v", has, err)
	}
}

func TestOwnerWaitsForAttached(t *testing.T) {
	dir := t.TempDir()
	owner := join(t, dir)
	client := start(t, "stay", dir)
	client.want(t, "joined false")

	left := make(chan error, 1)
	go func() { left <- owner.Close() }()
	select {
	case err := <-left:
		t.Fatalf("the owner closed before its client: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	// It continues to serve, including new clients.
	another := start(t, "stay", dir)
	another.want(t, "joined false")
	client.in.Close()
	client.want(t, "left")
	another.in.Close()
	another.want(t, "left")
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	if exists(dir, "api.sock") {
		t.Error("the socket is still there")
	}
	if s := join(t, dir); !s.Owner {
		t.Error("the next session does not own the repo")
	}
}

// A killed client does not delay the owner.
func TestAttachedKilled(t *testing.T) {
	dir := t.TempDir()
	owner := join(t, dir)
	client := start(t, "run", dir)
	client.want(t, "joined false")
	client.want(t, "waiting")
	client.Process.Kill()
	begin := time.Now()
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("the owner stayed for %v", d)
	}
	next := join(t, dir)
	jobs, err := next.Jobs.List(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].State != api.JobFailed || jobs[0].Err.Code != api.CodeInterrupted {
		t.Fatalf("%+v, %v", jobs, err)
	}
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	owner := join(t, dir)
	client := start(t, "run", dir)
	client.want(t, "joined false")
	client.want(t, "waiting")
	left := make(chan error, 1)
	go func() { left <- owner.Close() }()
	time.Sleep(20 * time.Millisecond)
	begin := time.Now()
	if err := owner.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
	contains(t, client.line(), "fault: the process that owned the repo ended")
}

// The owner is killed: every client gets the right error at once, everything reported is still in the repo, and
// the next session is the owner.
func TestOwnerKilled(t *testing.T) {
	dir := t.TempDir()
	owner := start(t, "stay", dir)
	owner.want(t, "joined true")
	var clients []*actor
	for range 4 {
		clients = append(clients, start(t, "work", dir))
	}
	var pinned []string
	for _, g := range clients {
		g.want(t, "joined false")
		pinned = append(pinned, strings.TrimPrefix(g.line(), "pinned "))
	}
	owner.Process.Kill()
	killed := time.Now()
	for _, g := range clients {
		line := g.line()
		for ; strings.HasPrefix(line, "pinned "); line = g.line() {
			pinned = append(pinned, strings.TrimPrefix(line, "pinned "))
		}
		contains(t, line, "error fault: the process that owned the repo ended")
	}
	if d := time.Since(killed); d > 10*time.Second {
		t.Errorf("the clients took %v to notice", d)
	}
	next := join(t, dir)
	if !next.Owner {
		t.Fatal("the next session does not own the repo")
	}
	if v, err := next.Maintenance.Check(t.Context(), nil); err != nil || v.Damaged != 0 {
		t.Errorf("check: %+v, %v", v, err)
	}
	if _, err := next.Maintenance.Collect(t.Context()); err != nil {
		t.Error(err)
	}
	for _, p := range pinned {
		c, err := cid.Decode(p)
		if err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		if _, err := next.Blocks.Get(t.Context(), c); err != nil {
			t.Errorf("reported but lost: %v", err)
		}
	}
}

// Eight processes join, work and leave repeatedly: each round has one owner, no process is refused, and
// everything reported is in the repo at the end.
func TestOwnersComeAndGo(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var reported []string
	for range 8 {
		a := start(t, "rejoin", dir)
		wg.Go(func() {
			for line := a.line(); line != ""; line = a.line() {
				c, ok := strings.CutPrefix(line, "put ")
				if !ok {
					t.Errorf("process %d: %s", a.Process.Pid, line)
					return
				}
				mu.Lock()
				reported = append(reported, c)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(reported) != 8*25 {
		t.Fatalf("%d rounds succeeded, want %d", len(reported), 8*25)
	}
	s := join(t, dir)
	for _, r := range reported {
		c, err := cid.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		if has, err := s.Data.Has(t.Context(), c); err != nil || !has {
			t.Errorf("%s: has %v, %v", c, has, err)
		}
	}
}

// The same within one process, where the rounds are quicker: an owner leaves at the moment another session
// joins.
func TestOwnerLeavesWhileOthersJoin(t *testing.T) {
	dir := t.TempDir()
	for round := range 200 {
		s, err := node.Join(t.Context(), config(dir))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Errorf("round %d: close: %v", round, err)
			}
		})
		for range 3 {
			wg.Go(func() {
				g, err := node.Join(t.Context(), config(dir))
				if err != nil {
					t.Errorf("round %d: join: %v", round, err)
					return
				}
				if err := g.Data.Sync(t.Context()); err != nil {
					t.Errorf("round %d: owner %v: %v", round, g.Owner, err)
				}
				if err := g.Close(); err != nil {
					t.Errorf("round %d: close: %v", round, err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
	}
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 30)+"repo")
	owner, err := node.Join(t.Context(), config(dir))
	if errors.Is(err, api.ErrSocketPath) || err != nil && strings.Contains(err.Error(), api.ErrSocketPath.Error()) {
		return // the system cannot shorten a long path
	}
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Abort()
	client := join(t, dir)
	if client.Owner {
		t.Fatal("two owners")
	}
	put(t, client, "through a long path")
	client.Close()
	owner.Close()
	if exists(dir, "api.sock") {
		t.Error("the socket is still there")
	}
}

// A socket left by a killed owner does not prevent a join.
func TestStaleSocket(t *testing.T) {
	dir := t.TempDir()
	owner := start(t, "stay", dir)
	owner.want(t, "joined true")
	owner.Process.Kill()
	owner.Wait()
	if !exists(dir, "api.sock") {
		t.Fatal("the killed owner has removed its socket")
	}
	if s := join(t, dir); !s.Owner {
		t.Fatal("not the owner")
	}
	if g := join(t, dir); g.Owner {
		t.Fatal("two owners")
	}
}

// A repo that this user may not write to can be read by several processes at once.
func TestReadOnlyRepo(t *testing.T) {
	dir := t.TempDir()
	s := join(t, dir)
	c := put(t, s, "x")
	s.Close()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // another user needs access to the parent folder
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		mode := fs.FileMode(0o444)
		if e.IsDir() {
			mode = 0o555
			t.Cleanup(func() { os.Chmod(path, 0o755) })
		}
		return errors.Join(err, os.Chmod(path, mode))
	})
	if err != nil {
		t.Fatal(err)
	}
	readers := []*actor{start(t, "read", dir), start(t, "read", dir)}
	for _, r := range readers {
		r.want(t, "joined true")
		fmt.Fprintln(r.in, c)
		r.want(t, "got x")
		contains(t, r.line(), "fault", "is read-only")
	}
	if exists(dir, "api.sock") {
		t.Error("there is a socket")
	}
}

// A stopped owner does not answer; the error names its process.
func TestOwnerStopped(t *testing.T) {
	dir := t.TempDir()
	owner := start(t, "stay", dir)
	owner.want(t, "joined true")
	if err := owner.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus // the signal is asynchronous
	if _, err := syscall.Wait4(owner.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatal(status, err)
	}
	cfg := config(dir)
	cfg.Wait = 200 * time.Millisecond
	var begin time.Time
	err := error(nil)
	for tries := 0; err == nil && tries < 100; tries++ { // its threads do not stop at the same time
		begin = time.Now()
		var s *node.Session
		if s, err = node.Join(t.Context(), cfg); err == nil {
			s.Abort()
			time.Sleep(10 * time.Millisecond)
		}
	}
	if d := time.Since(begin); d < cfg.Wait || d > 20*time.Second {
		t.Errorf("retried for %v", d)
	}
	if codeOf(err) != api.CodeFault {
		t.Fatal(err)
	}
	contains(t, err.Error(), "does not answer")
	if exists("/proc/locks") {
		contains(t, err.Error(), fmt.Sprintf("process %d", owner.Process.Pid))
	}
}

func TestLargeData(t *testing.T) {
	dir := t.TempDir()
	owner := start(t, "stay", dir)
	owner.want(t, "joined true")
	client := join(t, dir)
	const count, size = 100, 1 << 20
	before := residentPeak(t, owner.Process.Pid)
	var cids []cid.Cid
	for i := range count {
		b := dag.NewBlock(cid.Raw, bytes.Repeat([]byte{byte(i), byte(i >> 3)}, size/2))
		if err := client.Blocks.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		cids = append(cids, b.CID())
	}
	for i, c := range cids {
		b, err := client.Blocks.Get(t.Context(), c)
		if err != nil || len(b.Data()) != size || b.Data()[0] != byte(i) {
			t.Fatalf("block %d: %d bytes, %v", i, len(b.Data()), err)
		}
	}
	if grown := residentPeak(t, owner.Process.Pid) - before; grown > 64<<20 {
		t.Errorf("the owner grew by %d MiB", grown>>20)
	}
}

// residentPeak returns the peak resident memory of a process, in bytes; 0 where the system does not report it.
func residentPeak(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(b), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); !ok || err != nil {
		t.Fatalf("no VmHWM: %v", err)
	}
	return kib << 10
}
