package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

func pin(t testing.TB, s *Store, name string, recursive bool, blocks ...dag.Block) {
	t.Helper()
	p := Pin{Name: name}
	for _, b := range blocks {
		p.Roots = append(p.Roots, Root{b.CID(), recursive})
	}
	must(t, s.AddPin(context.Background(), p))
}

func TestCollect(t *testing.T) {
	s := newStore(t)
	leafA, leafB, leafC, alone, trash := raw(1, 100), raw(2, 200), raw(3, 300), raw(4, 400), raw(5, 500)
	absentLeaf := raw(6, 600)
	inner := node(leafA.CID(), absentLeaf.CID())
	lost := node(leafC.CID(), leafC.CID()) // not put: what is below it is unknown
	root := node(inner.CID(), lost.CID(), leafB.CID(), inner.CID())
	shallow := node(leafC.CID())
	must(t, s.Put(t.Context(), leafA, leafB, leafC, alone, trash, inner, root, shallow))
	pin(t, s, "deep", true, root)
	pin(t, s, "direct", false, alone, shallow)

	done := collect(t, s)
	if want := (Collected{2, 800, 6, done.KeptBytes}); done != want {
		t.Errorf("%+v, want %+v", done, want)
	}
	wantHere(t, s, leafA, leafB, alone, inner, root, shallow)
	wantGone(t, s, leafC, trash)

	must(t, s.RemovePin("deep"))
	collect(t, s)
	wantHere(t, s, alone, shallow)
	wantGone(t, s, root, inner, leafA, leafB)
	must(t, s.RemovePin("direct"))
	if done := collect(t, s); done.Kept != 0 || done.Removed != 2 {
		t.Errorf("%+v", done)
	}
	clean(t, s)
}

// TestCollectFollowsCodecs pins the same bytes as raw, without links, and as DAG-CBOR, with links: in either order,
// the blocks below stay.
func TestCollectFollowsCodecs(t *testing.T) {
	for _, asRawFirst := range []bool{true, false} {
		s := newStore(t)
		leaf := raw(1, 10)
		root := node(leaf.CID())
		must(t, s.Put(t.Context(), leaf, root))
		roots := []Root{{cid.NewCidV1(cid.Raw, root.CID().Hash()), true}, {root.CID(), true}}
		if !asRawFirst {
			roots[0], roots[1] = roots[1], roots[0]
		}
		must(t, s.AddPin(t.Context(), Pin{Name: "both", Roots: roots}))
		collect(t, s)
		wantHere(t, s, leaf, root)
	}
}

func TestCollectRemovesExpiredPins(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := open(t, t.TempDir(), Config{Clock: func() time.Time { return now }})
	a, b, c := raw(1, 10), raw(2, 10), raw(3, 10)
	must(t, s.Put(t.Context(), a, b, c))
	for name, p := range map[string]struct {
		block   dag.Block
		expires time.Time
	}{"past": {a, now}, "future": {b, now.Add(time.Nanosecond)}, "ever": {c, time.Time{}}} {
		must(t, s.AddPin(t.Context(), Pin{Name: name, Roots: []Root{{p.block.CID(), true}}, Expires: p.expires}))
	}
	if _, err := s.Collect(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	wantGone(t, s, a)
	wantHere(t, s, b, c)
	if _, err := s.pin("past"); !errors.As(err, new(*PinNotFoundError)) {
		t.Errorf("an expired pin is still there")
	}
	pins, err := s.Pins()
	must(t, err)
	if len(pins) != 2 {
		t.Errorf("%+v", pins)
	}
}

func TestCollectRefusesInDoubt(t *testing.T) {
	setup := func(t *testing.T) (s *Store, root, inner, leaf, trash dag.Block) {
		s = newStore(t)
		leaf, trash = raw(1, 100), raw(2, 100)
		inner = node(leaf.CID())
		root = node(inner.CID())
		must(t, s.Put(t.Context(), leaf, inner, root, trash))
		pin(t, s, "kept", true, root)
		must(t, s.AddPin(t.Context(), Pin{Name: "old", Roots: []Root{{leaf.CID(), true}}, Expires: time.Unix(1, 0)}))
		return
	}
	refused := func(t *testing.T, s *Store, parts ...string) {
		t.Helper()
		before := len(tree(t, s.Dir()))
		done, err := s.Collect(t.Context(), time.Now())
		wantErr(t, err, parts...)
		if done.Removed != 0 || len(tree(t, s.Dir())) != before {
			t.Errorf("blocks were removed: %+v", done)
		}
	}
	t.Run("damaged inner block", func(t *testing.T) {
		s, root, inner, leaf, trash := setup(t)
		path := damageBlock(t, s, inner)
		refused(t, s, "kept", inner.CID().String(), path, "nothing was removed")
		wantHere(t, s, root, leaf, trash)
		must(t, s.Put(t.Context(), inner))
		if done := collect(t, s); done.Removed != 1 {
			t.Errorf("%+v", done)
		}
		wantHere(t, s, root, inner, leaf)
	})
	t.Run("unreadable inner block", func(t *testing.T) {
		s, _, _, _, _ := setup(t)
		s.blocks = &watched{storage: s.blocks, get: func(multihash.Multihash) error { return errors.New("disk error") }}
		refused(t, s, "disk error")
	})
	t.Run("damaged protected block", func(t *testing.T) {
		s, _, inner, _, _ := setup(t)
		must(t, s.RemovePin("kept"))
		n := s.Begin()
		defer n.End()
		must(t, n.Protect(t.Context(), inner.CID()))
		damageBlock(t, s, inner)
		refused(t, s, "root in use", inner.CID().String())
	})
	t.Run("damaged pin", func(t *testing.T) {
		s, _, _, _, _ := setup(t)
		must(t, s.ledger.Write(ledger.Entry{Key: pinKey + "kept", Value: []byte(`{"name":"kept"}`)}))
		refused(t, s, ledgerDir, "has no roots")
	})
	t.Run("damaged old pin", func(t *testing.T) {
		s, _, _, _, _ := setup(t)
		must(t, s.ledger.Write(ledger.Entry{Key: pinKey + "old", Value: []byte(`{"name":"old"`)}))
		refused(t, s, ledgerDir, "unexpected end")
	})
	t.Run("damaged pin of the old form", func(t *testing.T) {
		s, _, _, _, _ := setup(t)
		path := oldPin(t, s.Dir(), Pin{Name: "p", Roots: []Root{{raw(1, 1).CID(), true}}})
		must(t, os.Truncate(path, 10))
		refused(t, s, path)
	})
	t.Run("canceled by the caller", func(t *testing.T) {
		s, _, _, _, _ := setup(t)
		ctx, cancel := context.WithCancel(t.Context())
		s.blocks = &watched{storage: s.blocks, get: func(multihash.Multihash) error { cancel(); return nil }}
		if done, err := s.Collect(ctx, time.Now()); !errors.Is(err, context.Canceled) || done.Removed != 0 {
			t.Errorf("%+v, %v", done, err)
		}
	})
}

// TestCollectPastWhatIsNotRead: a collection does not read leaves, so a damaged one does not stop it; for an Opaque
// pin, neither do blocks whose links cannot be read.
func TestCollectPastWhatIsNotRead(t *testing.T) {
	s := newStore(t)
	leaf, trash := raw(1, 100), raw(2, 100)
	nonsense := dag.NewBlock(cid.DagCBOR, []byte("\xffnot cbor"))
	unknown := dag.NewBlock(0x78, []byte("git-raw"))
	root := node(leaf.CID(), nonsense.CID(), unknown.CID())
	must(t, s.Put(t.Context(), leaf, trash, nonsense, unknown, root))
	must(t, s.AddPin(t.Context(), Pin{Name: "kept", Roots: []Root{{root.CID(), true}}, Opaque: true}))
	damageBlock(t, s, leaf)
	if done := collect(t, s); done.Removed != 1 || done.Kept != 4 {
		t.Errorf("%+v", done)
	}
	wantHere(t, s, nonsense, unknown, root)
}

func TestCollectStopsAndGoesOn(t *testing.T) {
	s := newStore(t)
	for i := range uint64(50) {
		must(t, s.Put(t.Context(), raw(i, 10)))
	}
	plain := s.blocks
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	s.blocks = &watched{storage: plain, delete: func(multihash.Multihash) error {
		if n++; n == 10 {
			cancel()
		}
		return nil
	}}
	done, err := s.Collect(ctx, time.Now())
	if !errors.Is(err, context.Canceled) || done.Removed != 10 {
		t.Errorf("%+v, %v", done, err)
	}
	s.blocks = plain
	if done := collect(t, s); done.Removed != 40 {
		t.Errorf("%+v", done)
	}
}

func TestSessionKeepsWhatItTouched(t *testing.T) {
	s := newStore(t)
	idle, work := s.Begin(), s.Begin()
	defer idle.End()
	put, got, looked, sized, later, trash := raw(1, 10), raw(2, 10), raw(3, 10), raw(4, 10), raw(5, 10), raw(6, 10)
	must(t, s.Put(t.Context(), got, looked, sized, trash))
	must(t, work.Put(t.Context(), put))
	_, err := work.Get(t.Context(), got.CID())
	must(t, err)
	if ok, err := work.Has(t.Context(), looked.CID()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if n, err := work.Size(t.Context(), sized.CID()); n != 10 || err != nil {
		t.Fatal(n, err)
	}
	wantGone(t, work, later)
	must(t, s.Put(t.Context(), later)) // by another writer

	if done := collect(t, s); done.Removed != 1 {
		t.Errorf("%+v", done)
	}
	wantHere(t, s, put, got, looked, sized)
	wantGone(t, s, trash)

	work.End()
	work.End()
	if done := collect(t, s); done.Kept != 0 {
		t.Errorf("%+v", done)
	}
	if err := work.Put(t.Context(), put); !errors.Is(err, ErrClosed) {
		t.Errorf("put after the end: %v", err)
	}
	if err := work.Protect(t.Context(), put.CID()); !errors.Is(err, ErrClosed) {
		t.Errorf("protect after the end: %v", err)
	}
}

func TestSessionProtectsBelowRoots(t *testing.T) {
	s := newStore(t)
	leaf := raw(1, 10)
	inner := node(leaf.CID())
	root := node(inner.CID())
	must(t, s.Put(t.Context(), leaf, inner, root))
	n := s.Begin()
	must(t, n.Protect(t.Context(), root.CID()))
	collect(t, s)
	wantHere(t, s, root, inner, leaf)
	wantErr(t, n.Protect(t.Context(), cid.Undef), "without a CID")
	n.End()
	collect(t, s)
	wantGone(t, s, root, inner, leaf)
}

// during starts a collection and calls act while it deletes its first block, which is unreferenced.
func during(t *testing.T, s *Store, act func()) {
	t.Helper()
	must(t, s.Put(t.Context(), raw(999, 1)))
	plain := s.blocks
	var once sync.Once
	s.blocks = &watched{storage: plain, delete: func(multihash.Multihash) error {
		once.Do(func() {
			// The holdings are locked here: act runs in another goroutine, until the lock is released.
			go act()
			time.Sleep(20 * time.Millisecond)
		})
		return nil
	}}
	collect(t, s)
}

func TestRootsWaitForACollection(t *testing.T) {
	s := newStore(t)
	n := s.Begin()
	defer n.End()
	kept := raw(1, 10)
	must(t, n.Put(t.Context(), kept))

	entered, goOn := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	var once sync.Once
	trash := raw(2, 10)
	must(t, s.Put(t.Context(), trash))
	s.blocks = &watched{storage: s.blocks, delete: func(multihash.Multihash) error {
		once.Do(func() { close(entered); <-goOn })
		return nil
	}}
	collected := make(chan error, 1)
	go func() { _, err := s.Collect(t.Context(), time.Now()); collected <- err }()
	<-entered

	impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	p := Pin{Name: "p", Roots: []Root{{kept.CID(), true}}}
	if err := s.AddPin(impatient, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("AddPin beside a collection: %v", err)
	}
	if err := n.Protect(impatient, kept.CID()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Protect beside a collection: %v", err)
	}
	added := make(chan error, 1)
	go func() { added <- s.AddPin(t.Context(), p) }()
	select {
	case err := <-added:
		t.Fatalf("AddPin did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	release()
	must(t, <-collected)
	must(t, <-added)
	n.End()
	collect(t, s)
	wantHere(t, s, kept)
}

// TestPutOfWhatIsBeingDeleted: a session puts the block that the sweep is deleting.
func TestPutOfWhatIsBeingDeleted(t *testing.T) {
	for range 20 {
		s := newStore(t)
		n := s.Begin()
		b := raw(999, 1) // the only block, so during deletes it
		put := make(chan error, 1)
		during(t, s, func() { put <- n.Put(t.Context(), b) })
		must(t, <-put)
		wantHere(t, s, b)
		n.End()
	}
}

// TestASessionThatEndsDuringACollection puts a missing block below a pinned root just after the walk missed it, and
// ends before the sweep. From then on the block is part of the pin.
func TestASessionThatEndsDuringACollection(t *testing.T) {
	s := newStore(t)
	leaf := raw(1, 10)
	inner := node(leaf.CID())
	root := node(inner.CID())
	must(t, s.Put(t.Context(), root))
	pin(t, s, "p", true, root)
	missed := false
	s.blocks = &watched{storage: s.blocks, get: func(key multihash.Multihash) error {
		if missed || string(key) != string(inner.CID().Hash()) {
			return nil
		}
		missed = true
		n := s.Begin()
		defer n.End()
		if err := n.Put(context.Background(), inner, leaf); err != nil {
			t.Error(err)
		}
		return errAbsent
	}}
	collect(t, s)
	if !missed {
		t.Error("the walk did not look up the block")
	}
	wantHere(t, s, root, inner, leaf)
	if len(s.held.ended) != 0 || s.held.collecting {
		t.Errorf("leftover keys: %+v", s.held.ended)
	}
	collect(t, s)
	wantHere(t, s, root, inner, leaf)
}

// TestWritersBesideCollections: writers make, pin and unpin DAGs during collections. Writers share blocks, which are
// put and removed all the time.
func TestWritersBesideCollections(t *testing.T) {
	s := newStore(t)
	stop := make(chan struct{})
	var collecting, writing sync.WaitGroup
	collecting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Collect(context.Background(), time.Now()); err != nil {
				t.Error(err)
			}
		}
	})
	for w := range 4 {
		writing.Go(func() {
			for round := range 60 {
				if err := writeRound(s, fmt.Sprint("writer ", w), uint64(w*7+round)); err != nil {
					t.Errorf("writer %d, round %d: %v", w, round, err)
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	collecting.Wait()
	clean(t, s)
	if done := collect(t, s); done.Kept == 0 || done.Kept > 4*6 {
		t.Errorf("%+v", done)
	}
}

// writeRound makes a DAG of five leaves out of about thirty, pins it and checks it.
func writeRound(s *Store, name string, seed uint64) error {
	ctx := context.Background()
	n := s.Begin()
	var links []cid.Cid
	for i := range uint64(5) {
		b := raw((seed+i)%30, 50)
		links = append(links, b.CID())
		if here, err := n.Has(ctx, b.CID()); err != nil {
			return err
		} else if here && seed%2 == 0 {
			continue // reuse the present block
		}
		if err := n.Put(ctx, b); err != nil {
			return err
		}
	}
	root := node(links...)
	if err := n.Put(ctx, root); err != nil {
		return err
	}
	err := s.AddPin(ctx, Pin{Name: name, Roots: []Root{{root.CID(), true}}})
	n.End()
	if err != nil {
		return err
	}
	for _, c := range append(links, root.CID()) {
		if _, err := s.Get(ctx, c); err != nil {
			return err
		}
	}
	return nil
}
