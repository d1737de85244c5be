package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// TestKill kills a process with -9 at random points of putting, pinning, unpinning and collecting. After each kill
// the repo opens, checks clean, and completely contains every DAG that was reported as pinned and not unpinned.
// LIFTOFF_KILLS sets the number of kills; the default is 10.
func TestKill(t *testing.T) {
	kills := 10
	if n, err := strconv.Atoi(os.Getenv("LIFTOFF_KILLS")); err == nil {
		kills = n
	}
	dir := filepath.Join(memoryDir(t), "repo")
	kept := map[string]cid.Cid{}
	reports := 0
	for i := range kills {
		reports += killOnce(t, dir, i, kept)
		s := open(t, dir, Config{})
		clean(t, s)
		for name, root := range kept {
			wantWhole(t, s, name, root)
		}
		wantPins(t, s, kept)
		must(t, s.Close())
		if t.Failed() {
			t.Fatalf("after kill %d", i+1)
		}
	}
	if reports < kills/2 {
		t.Errorf("only %d reports in %d runs: nothing was tested", reports, kills)
	}
	t.Logf("%d kills, %d reports", kills, reports)
}

// memoryDir returns a folder on an in-memory file system if the machine has one: killing a process does not depend on
// a disk, and syncing one would wait for the data of other processes.
func memoryDir(t *testing.T) string {
	if dir, err := os.MkdirTemp("/dev/shm", "liftoff-test-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// killOnce runs a child and adds the pins that it reports to kept. The child is killed up to 100 ms after it has
// opened the repo, or, every second time, after its first report, which takes longer on a busy machine.
func killOnce(t *testing.T, dir string, seed int, kept map[string]cid.Cid) (reports int) {
	t.Helper()
	cmd := startChild(t, "churn", dir, strconv.Itoa(seed))
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	kill := sync.OnceFunc(func() {
		life := time.Duration(rand.N(100_000)) * time.Microsecond
		time.AfterFunc(life, func() { cmd.Process.Kill() })
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() { // until the pipe closes when the process ends
		word, rest, _ := strings.Cut(lines.Text(), " ")
		name, root, _ := strings.Cut(rest, " ")
		switch word {
		case "open":
			if seed%2 == 0 {
				kill()
			}
		case "pinned":
			kill()
			c, err := cid.Decode(root)
			must(t, err)
			kept[name] = c
			reports++
		case "unpin": // from now on it may be present or not
			delete(kept, name)
		default:
			t.Fatalf("child: unexpected line %q", lines.Text())
		}
	}
	err = cmd.Wait()
	if cmd.ProcessState.Exited() {
		t.Fatalf("child exited: %v", err)
	}
	return reports
}

// wantWhole reads everything below root.
func wantWhole(t *testing.T, s *Store, name string, root cid.Cid) {
	t.Helper()
	n := 0
	err := dag.Walk(t.Context(), s, []cid.Cid{root}, dag.WalkOptions{Data: true}, func(v dag.Visited) error {
		n++
		_, err := dag.CheckBlock(v.CID, v.Block.Data())
		return err
	})
	if err != nil || n < 3 {
		t.Errorf("%s was reported: after %d blocks: %v", name, n, err)
	}
}

// wantPins checks that every kept pin exists and has its root.
func wantPins(t *testing.T, s *Store, kept map[string]cid.Cid) {
	t.Helper()
	pins, err := s.Pins()
	must(t, err)
	have := map[string]cid.Cid{}
	for _, p := range pins {
		have[p.Name] = p.Roots[0].CID
	}
	for name, root := range kept {
		if !have[name].Equals(root) {
			t.Errorf("pin %s has root %s, want %s", name, have[name], root)
		}
	}
}

// childChurns works in a repo until it is killed. It prints "pinned NAME ROOT" after pinning and "unpin NAME" before
// unpinning.
func childChurns(dir, seedText string) error {
	seed, err := strconv.ParseUint(seedText, 10, 32)
	if err != nil {
		return err
	}
	s, err := Open(dir, Config{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	r := rand.New(rand.NewPCG(seed, 0))
	done := make(chan error)
	go func() { // collections during the writes
		for {
			if _, err := s.Collect(context.Background(), time.Now()); err != nil {
				done <- err
				return
			}
		}
	}()
	for w := range 2 {
		r := rand.New(rand.NewPCG(r.Uint64(), uint64(w)))
		go func() {
			for {
				if err := churn(s, r, fmt.Sprintf("%d-%d", w, r.IntN(8))); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	return fmt.Errorf("churn: %w", <-done)
}

// churn makes a DAG, with leaves that other DAGs share, in place of another one.
func churn(s *Store, r *rand.Rand, name string) error {
	ctx := context.Background()
	var missing *PinNotFoundError
	fmt.Println("unpin", name)
	if r.IntN(2) == 0 { // otherwise the new pin replaces the old one
		if err := s.RemovePin(name); err != nil && !errors.As(err, &missing) {
			return err
		}
	}
	n := s.Begin()
	defer n.End()
	var links []cid.Cid
	for range 1 + r.IntN(20) {
		seed := r.Uint64N(200)
		b := raw(seed, int(seed*97)) // up to 19 KB
		if seed%10 == 0 {
			b = raw(seed, 1<<20)
		}
		if err := n.Put(ctx, b); err != nil {
			return err
		}
		links = append(links, b.CID())
	}
	inner := node(links...)
	root := node(inner.CID(), links[0])
	if r.IntN(2) == 0 { // as a run does, without waiting for the disk
		err := n.Commit(ctx, Batch{
			Blocks:  []dag.Block{inner, root},
			Pins:    []Pin{{Name: name, Roots: []Root{{root.CID(), true}}}},
			Records: []Record{{Name: "of " + name, Value: root.CID().Bytes()}},
		})
		if err != nil {
			return err
		}
		fmt.Println("pinned", name, root.CID())
		return nil
	}
	if err := n.Put(ctx, inner, root); err != nil {
		return err
	}
	if err := s.Sync(ctx); err != nil {
		return err
	}
	if err := s.AddPin(ctx, Pin{Name: name, Roots: []Root{{root.CID(), true}}}); err != nil {
		return err
	}
	fmt.Println("pinned", name, root.CID())
	return nil
}

// TestKillWhileMaking kills a process while it creates a repo. The next one completes it.
func TestKillWhileMaking(t *testing.T) {
	above := memoryDir(t)
	for i := range 10 {
		dir := filepath.Join(above, strconv.Itoa(i), "repo")
		cmd := startChild(t, "lock", dir)
		stdin, err := cmd.StdinPipe() // it stays open until this function ends
		must(t, err)
		must(t, cmd.Start())
		for !exists(dir) {
			time.Sleep(50 * time.Microsecond)
		}
		time.Sleep(rand.N(500 * time.Microsecond))
		must(t, cmd.Process.Kill())
		cmd.Wait()
		stdin.Close()
		s := open(t, dir, Config{})
		b := raw(1, 100)
		must(t, s.Put(t.Context(), b))
		pin(t, s, "p", true, b)
		wantHere(t, s, b)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
