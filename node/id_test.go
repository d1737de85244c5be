package node

import (
	"strings"
	"testing"
	"time"
)

func TestIDsSort(t *testing.T) {
	var g ids
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	last := ""
	for i := range 10_000 {
		switch {
		case i%100 == 99:
			now = now.Add(time.Millisecond)
		case i == 5_000:
			now = now.Add(-time.Hour) // the clock is set
		}
		id := g.next(now)
		if !isID(id) {
			t.Fatalf("%q is not an id", id)
		}
		if id <= last {
			t.Fatalf("%q comes after %q", id, last)
		}
		last = id
	}
	other := (&ids{}).next(now.Add(24 * time.Hour))
	if other <= last {
		t.Errorf("%q of the next day sorts before %q", other, last)
	}
}

func TestIDsCarry(t *testing.T) {
	var g ids
	for i := range g.last {
		g.last[i] = 0xff
	}
	g.last[0], g.last[12] = 0x0f, 0xf0
	if id := g.next(time.Unix(0, 0)); id != "j-20000000000000000000" {
		t.Errorf("the id after 0fff…: %q", id)
	}
}

func TestIDPrefixes(t *testing.T) {
	full := "j-" + strings.Repeat("0", 20)
	for s, want := range map[string]bool{
		full: true, "j-": true, "j-v": true,
		"": false, "j": false, "0": false, "j-w": false, "j-A": false, "j-/": false, full + "0": false, "j-é": false,
	} {
		if got := isIDPrefix(s); got != want {
			t.Errorf("isIDPrefix(%q) = %v", s, got)
		}
		if got := isID(s); got != (s == full) {
			t.Errorf("isID(%q) = %v", s, got)
		}
	}
}
