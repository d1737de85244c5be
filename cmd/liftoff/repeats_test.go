//go:build !windows

package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

// A job that waits for a peer repeats the same events: each is printed once, and then every 10 s with a count.
func TestEventPrinterRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr bytes.Buffer
		s := &eventPrinter{p: newProcess(strings.NewReader(""), io.Discard, &stderr, func(string) string { return "" })}
		for range 25 {
			s.print(api.Event{Kind: api.EventAsked, Text: "asking 1 peer"})
			s.print(api.Event{Kind: api.EventWaiting, Text: "retrying"})
			time.Sleep(time.Second)
		}
		s.print(api.Event{Kind: api.EventAwarded, Text: "awarded"})
		want := "liftoff: asking 1 peer\nliftoff: retrying\n" +
			strings.Repeat("liftoff: asking 1 peer (10 times)\nliftoff: retrying (10 times)\n", 2) + "liftoff: awarded\n"
		if d := cmp.Diff(want, stderr.String()); d != "" {
			t.Error(d)
		}
	})
}

// A job's history keeps its order, with a count for rows of events that repeat.
func TestCycles(t *testing.T) {
	for events, want := range map[string]string{
		"":                    "",
		"a b c":               "a b c",
		"a a":                 "a a",
		"s a w a w a w a w d": "s a*4 w*4 d",
		"a a a b a a a":       "a*3 b a*3",
		"a b c d e a b c d e": "a b c d e a b c d e",
	} {
		var in []api.Event
		for _, text := range strings.Fields(events) {
			in = append(in, api.Event{Text: text})
		}
		var got []string
		for _, c := range cycles(in) {
			for _, e := range c.events {
				got = append(got, e.Text+repeated(c.times, "*%d"))
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%q: got %q, want %q", events, got, want)
		}
	}
}
