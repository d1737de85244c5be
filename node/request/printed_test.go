package request

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// reader reads what a Printed shows, like a reader of a spool: it has seen text that is taken back
// later.
type reader struct {
	now       [2]bytes.Buffer // text since the last restart
	seen      [2]bytes.Buffer // all text
	falseText [2]bool
}

func (r *reader) output() Output {
	write := func(i int) writerFunc {
		return func(b []byte) (int, error) {
			r.now[i].Write(b)
			return r.seen[i].Write(b)
		}
	}
	return Output{Stdout: write(0), Stderr: write(1), Restart: func(stream byte, isFalse bool) {
		r.now[stream-1].Reset()
		r.falseText[stream-1] = r.falseText[stream-1] || isFalse
	}}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// resultOf makes the Result of a peer's run that has printed text.
func resultOf(t interface{ Fatal(...any) }, bs dag.Blocks, peer job.DID, text [2][]byte) Result {
	r := Result{Peer: peer, Value: job.Outcome{Task: dag.NewBlock(cid.Raw, nil).CID(), State: job.OK, Root: dag.NewBlock(cid.Raw, nil).CID()}}
	for i, c := range []*cid.Cid{&r.Value.Stdout, &r.Value.Stderr} {
		if len(text[i]) == 0 {
			continue
		}
		profile := dag.UnixFSv1
		profile.ChunkSize = 16
		w := dag.NewFileWriter(context.Background(), bs, profile)
		w.Write(text[i])
		e, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		*c = e.CID
		r.Value.Log += uint64(len(text[i]))
	}
	var err error
	if r.Outcome, err = r.Value.CID(); err != nil {
		t.Fatal(err)
	}
	return r
}

func opener(bs dag.Blocks) Open {
	return func(ctx context.Context, c cid.Cid) (*dag.File, error) { return dag.OpenFile(ctx, bs, c) }
}

// Whatever runs print, however often they restart and whichever peers print false text: the text
// shown at the end is that of the Outcome, a reader that saw other text is told, and no honest peer
// is named.
func TestPrinted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx, bs := context.Background(), new(dag.MemBlocks)
		text := func(what string) [2][]byte {
			few := rapid.SampledFrom([]byte("ab")) // so that texts often agree for a while
			return [2][]byte{rapid.SliceOfN(few, 0, 60).Draw(t, what), rapid.SliceOfN(few, 0, 60).Draw(t, what)}
		}
		whole := text("true text")
		policy := Policy{Checked: rapid.Bool().Draw(t, "checked"), Own: rapid.Bool().Draw(t, "runs")}
		var r reader
		p := NewPrinted(r.output(), policy)
		dishonest := map[job.DID]bool{}
		prints := func(run *transcript, said [2][]byte) {
			var at [2]int
			for at[0] < len(said[0]) || at[1] < len(said[1]) {
				i := rapid.IntRange(0, 1).Draw(t, "stream")
				if at[i] == len(said[i]) {
					i = 1 - i
				}
				n := rapid.IntRange(1, len(said[i])-at[i]).Draw(t, "piece")
				if err := run.add(byte(i+1), uint64(at[i]), said[i][at[i]:at[i]+n]); err != nil {
					t.Fatal(err)
				}
				at[i] += n
			}
			if policy.Checked && r.seen[0].Len()+r.seen[1].Len() > 0 {
				t.Fatalf("shown before it was compared: %q, %q", &r.seen[0], &r.seen[1])
			}
		}
		named := func(all []Mismatch) {
			for _, m := range all {
				if !dishonest[m.Peer] {
					t.Fatalf("%s is named, but printed no false text: %+v", m.Peer, m)
				}
			}
		}
		for k := range rapid.IntRange(0, 4).Draw(t, "runs that are lost") {
			peer := job.DID(fmt.Sprint("peer", k))
			own := rapid.Bool().Draw(t, "own")
			said := whole
			if isFalse := !own && rapid.Bool().Draw(t, "false"); isFalse {
				dishonest[peer], said = true, text("false text")
			}
			run := p.run(peer, own)
			if rapid.Bool().Draw(t, "with an outcome") {
				prints(run, said)
				all, err := run.verify(ctx, resultOf(t, bs, peer, whole), opener(bs))
				if err != nil {
					t.Fatal(err)
				}
				differs := !bytes.HasPrefix(whole[0], said[0]) || !bytes.HasPrefix(whole[1], said[1])
				if differs != (len(all) > 0) {
					t.Fatalf("printed %q, want %q: mismatches %+v", said, whole, all)
				}
				named(all)
				continue
			}
			for i := range said {
				said[i] = said[i][:rapid.IntRange(0, len(said[i])).Draw(t, "until")]
			}
			prints(run, said)
			if run.abandon() {
				t.Fatal("the text restarts, although another run prints the same")
			}
		}
		last := p.run("last", rapid.Bool().Draw(t, "last is own"))
		said := whole
		for i := range said {
			said[i] = said[i][:rapid.IntRange(0, len(said[i])).Draw(t, "until")]
		}
		prints(last, said)
		res := resultOf(t, bs, "last", whole)
		if all, err := last.verify(ctx, res, opener(bs)); len(all) > 0 || err != nil {
			t.Fatal(all, err)
		}
		all, err := p.Finish(ctx, res, opener(bs))
		if err != nil {
			t.Fatal(err)
		}
		named(all)
		for i := range whole {
			if !bytes.Equal(r.now[i].Bytes(), whole[i]) {
				t.Fatalf("stream %d: got %q, want %q", i+1, &r.now[i], whole[i])
			}
			if told := r.falseText[i]; told == bytes.Equal(r.seen[i].Bytes(), whole[i]) {
				t.Fatalf("stream %d: told %v, but saw %q, want %q", i+1, told, &r.seen[i], whole[i])
			}
		}
	})
}

// Two runs of a nondeterministic task may print different text. The text restarts, and is live
// until this has happened too often.
func TestPrintedNondet(t *testing.T) {
	ctx, bs := t.Context(), new(dag.MemBlocks)
	var r reader
	p := NewPrinted(r.output(), Policy{Nondet: true})
	for k := range maxRestarts + 2 {
		run := p.run(job.DID(fmt.Sprint(k)), false)
		if err := run.add(1, 0, fmt.Appendf(nil, "run %d", k)); err != nil {
			t.Fatal(err)
		}
		live := k < maxRestarts
		if got := r.now[0].String() == fmt.Sprintf("run %d", k); got != live {
			t.Errorf("run %d: got %q, live %v", k, &r.now[0], live)
		}
		if run.abandon() != live {
			t.Errorf("run %d: unverified %v, want %v", k, !live, live)
		}
	}
	run := p.run("last", false)
	run.add(1, 0, []byte("last"))
	res := resultOf(t, bs, "last", [2][]byte{[]byte("last one"), nil})
	if all, err := run.verify(ctx, res, opener(bs)); len(all) > 0 || err != nil {
		t.Error(all, err)
	}
	if all, err := p.Finish(ctx, res, opener(bs)); len(all) > 0 || err != nil || r.now[0].String() != "last one" || r.falseText[0] {
		t.Errorf("%+v, %v, got %q, false text %v", all, err, &r.now[0], r.falseText[0])
	}
}

// With several runs, the text of this node's own run is shown, whatever the others print.
func TestPrintedRuns(t *testing.T) {
	var r reader
	p := NewPrinted(r.output(), Policy{Own: true})
	own, peer := p.run("self", true), p.run("peer", false)
	for _, piece := range []struct {
		run *transcript
		off uint64
		say string
	}{{peer, 0, "x"}, {own, 0, "abc"}, {peer, 1, "yz and more"}, {own, 3, "def"}} {
		if err := piece.run.add(1, piece.off, []byte(piece.say)); err != nil {
			t.Fatal(err)
		}
	}
	if r.seen[0].String() != "abcdef" {
		t.Errorf("got %q", &r.seen[0])
	}
}

// A run that prints other text than an earlier one is not shown until it is known which of them is
// right.
func TestPrintedConflict(t *testing.T) {
	var r reader
	p := NewPrinted(r.output(), Policy{})
	one, two := p.run("one", false), p.run("two", false)
	one.add(1, 0, []byte("abc"))
	one.abandon()
	two.add(1, 0, []byte("abx and more"))
	if r.seen[0].String() != "abc" {
		t.Errorf("got %q", &r.seen[0])
	}
	if peers := p.Unverified(); len(peers) != 1 || peers[0] != "one" {
		t.Errorf("unverified: %v", peers)
	}
}

// Of lost runs that printed the same for a while, those with false text are named.
func TestPrintedSameFalseText(t *testing.T) {
	for truth, want := range map[string]string{"abcd": "[]", "abxd": "[three]", "axcd": "[three two]", "xbcd": "[three one two]", "": "[three one two]"} {
		ctx, bs := t.Context(), new(dag.MemBlocks)
		var r reader
		p := NewPrinted(r.output(), Policy{})
		for _, run := range []struct {
			peer job.DID
			says string
		}{{"one", "a"}, {"two", "ab"}, {"three", "abc"}} {
			said := p.run(run.peer, false)
			said.add(1, 0, []byte(run.says))
			said.abandon()
		}
		all, err := p.Finish(ctx, resultOf(t, bs, "last", [2][]byte{[]byte(truth), nil}), opener(bs))
		if err != nil {
			t.Fatal(err)
		}
		named := []job.DID{}
		for _, m := range all {
			named = append(named, m.Peer)
		}
		if got := fmt.Sprint(named); got != want || r.now[0].String() != truth {
			t.Errorf("text %q: named %s, want %s; shown %q", truth, got, want, &r.now[0])
		}
	}
}

// Data after a gap is not shown, repeated data is shown once, and a writer's error is returned.
func TestPrintedGap(t *testing.T) {
	var out bytes.Buffer
	p := NewPrinted(Output{Stdout: &out}, Policy{})
	run := p.run("peer", false)
	if err := run.add(1, 5, []byte("later")); err != nil || out.Len() != 0 {
		t.Errorf("%q, %v", &out, err)
	}
	for range 2 {
		if err := run.add(1, 0, []byte("once")); err != nil || out.String() != "once" {
			t.Errorf("%q, %v", &out, err)
		}
	}
	if err := run.add(2, 0, []byte("unread")); err != nil {
		t.Error(err)
	}
	if a, b := run.sizes(); a != 4 || b != 6 {
		t.Error(a, b)
	}
	full := errors.New("full")
	p.out.Stderr = writerFunc(func([]byte) (int, error) { return 0, full })
	if err := run.add(2, 0, []byte("unread, and more")); !errors.Is(err, full) {
		t.Errorf("a writer's error is lost: %v", err)
	}
}
