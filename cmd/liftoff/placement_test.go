//go:build !windows

package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func printed(t *testing.T, all bool, events ...api.Event) string {
	t.Helper()
	var stderr bytes.Buffer
	s := &eventPrinter{p: newProcess(strings.NewReader(""), io.Discard, &stderr, func(string) string { return "" }), all: all}
	for _, e := range events {
		s.print(e)
	}
	return stderr.String()
}

// A local run prints no events. Once other peers take part, each event is a line that is safe
// for a terminal.
func TestEventPrinter(t *testing.T) {
	here := []api.Event{
		{Kind: api.EventSubmitted, Text: "submitted"},
		{Kind: api.EventNote, Text: "runs on this node: holds all"},
		{Kind: api.EventStarted, Text: "runs here"},
		{Kind: api.EventDone, Text: "done"},
	}
	if got := printed(t, false, here...); got != "" {
		t.Errorf("a local run prints %q, want nothing", got)
	}
	if got, want := printed(t, true, here...), "liftoff: submitted\nliftoff: runs on this node: holds all\nliftoff: runs here\nliftoff: done\n"; got != want {
		t.Errorf("--verbose prints %q, want %q", got, want)
	}
	remote := []api.Event{
		{Kind: api.EventSubmitted, Text: "submitted"},
		{Kind: api.EventAsked, Text: "asking 1 peer"},
		{Kind: api.EventNote, Text: "awarded to \x1b[31mz6Mk\nx"},
		{Kind: api.EventFailed, Text: "failed"},
	}
	if got, want := printed(t, false, remote...), "liftoff: asking 1 peer\nliftoff: awarded to \ufffd[31mz6Mk\\nx\n"; got != want {
		t.Errorf("prints %q, want %q", got, want)
	}
}

func TestPlacementApply(t *testing.T) {
	const did = "did:key:z6MkhsuQa1KPYfYqRWYs6dKnVxTnnx9PzNhcgyXr4c27GVDB"
	for where, good := range map[string]bool{
		"": true, "local": true, "network": true, did: true, "12D3KooWabc": true,
		"z6Mkhs": true, did[:20]: true, "z6Mkhs…27GVDB": true, "z6Mkhs..27GVDB": true, did[:len(did)-1] + "x": false,
		"here": false, "did:key:z": false, "did:web:x": false, "z6Mk": false, "LOCAL": false,
	} {
		var r api.Request
		err := placementSpec{Where: where}.apply(&r)
		var usage *usageError
		if good && (err != nil || r.Where != where) || !good && !errors.As(err, &usage) {
			t.Errorf("where %q: %v", where, err)
		}
	}
	for _, bad := range []placementSpec{{Runs: -1}, {Runs: api.MaxRuns + 1}, {Where: "local", Runs: 2}} {
		if err := bad.apply(new(api.Request)); codeOf(err) != exitUsage {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	spec := placementSpec{Need: map[string]string{"a": "b"}, Prefer: map[string]string{"c": "d"}, Runs: 3, Publish: true}
	var r api.Request
	err := spec.apply(&r)
	want := api.Request{Need: spec.Need, Prefer: spec.Prefer, Runs: 3, Publish: true}
	if d := cmp.Diff(want.Need, r.Need) + cmp.Diff(want.Prefer, r.Prefer); err != nil || d != "" || r.Runs != 3 || !r.Publish {
		t.Errorf("%v, %+v\n%s", err, r, d)
	}
}

// How much another peer has read is unknown; of its fetched data only the bytes are known.
func TestRemoteRun(t *testing.T) {
	var stderr bytes.Buffer
	p := newProcess(strings.NewReader(""), io.Discard, &stderr, func(string) string { return "" })
	j := api.Job{Remote: true, Where: "did:key:z6Mk", Fetched: api.Read{Bytes: 2048}}
	p.ranOn(j)
	if got, want := stderr.String(), "liftoff: peer    did:key:z6Mk\nliftoff: fetched 2 KiB\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	r, err := reportOf(j)
	if err != nil || r.Read != nil || r.Fetched == nil || r.Fetched.Bytes != 2048 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = reportOf(api.Job{}); err != nil || r.Read == nil || r.Fetched != nil {
		t.Errorf("a run here: %+v, %v", r, err)
	}
}

// The missing bytes of a bid are shown only as far as they are known, and skipped peers have names.
func TestPlacementFacts(t *testing.T) {
	var out bytes.Buffer
	f := ui.NewScreen(&out, ui.Options{}).Facts()
	placementFacts(f, api.Placement{
		Bids: []api.Bid{
			{Peer: "a", Have: 1, Missing: 5, Exact: true, Score: 1, Why: "x"},
			{Peer: "b", Have: 1, Missing: 256 << 20, Guess: true, Score: 2, Why: "x"},
			{Peer: "c", Have: 1, Missing: 7, Score: 3, Why: "x"},
		},
		Skipped: []api.Skip{{Why: "it has no label disk", Count: 3, Peers: []string{"did:key:z6MkhsuQa1KPYfYqRWYs6dKnVxTnnx9PzNhcgyXr4c27GVDB"}}},
	})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "bid a: score 1, has 1, lacks 5: x\nbid b: score 2, has 1, lacks an unknown size: x\nbid c: score 3, has 1, lacks 7 or less: x\n" +
		"skipped 3 peers (z6Mkhs…27GVDB, and 2 more): it has no label disk\n"
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}
