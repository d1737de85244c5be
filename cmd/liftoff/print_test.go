//go:build !windows

package main

import (
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for s, want := range map[string]string{
		"plain": "plain", "with space": "with space", "ümläut 漢字": "ümläut 漢字",
		"": `""`, "two\nlines": `"two\nlines"`, "\x1b[31mred": `"\x1b[31mred"`, `"quoted"`: `"\"quoted\""`, "bad\xff": `"bad\xff"`,
		"flip\u202eexe.txt": `"flip\u202eexe.txt"`, "c1\u009b31m": `"c1\u009b31m"`,
	} {
		if got := quote(s); got != want {
			t.Errorf("quote(%q) = %s, want %s", s, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for s, want := range map[string]string{
		"plain": "plain", "a\nliftoff: error: b\n": `a\nliftoff: error: b`, "\x1b[2J": "\ufffd[2J", "\u202e": "\ufffd",
	} {
		if got := clean(s); got != want {
			t.Errorf("clean(%q) = %q, want %q", s, got, want)
		}
	}
	if got := cleanBlock("a\n\x1bb\n"); got != "a\n\ufffdb\n" {
		t.Errorf("cleanBlock kept %q", got)
	}
}

// TestPrintable feeds the writer in pieces of every size: state crosses calls.
func TestPrintable(t *testing.T) {
	const in = "a\tb\r\n\x1b[31mred\x07 \x7f \u009b31m é \u00a0\x00漢"
	const want = "a\tb\r\n^[[31mred^G ^? ^[[31m é \u00a0^@漢"
	for step := 1; step <= len(in); step++ {
		var out strings.Builder
		w := &printable{w: &out}
		for rest := in; rest != ""; {
			n := min(step, len(rest))
			if m, err := w.Write([]byte(rest[:n])); m != n || err != nil {
				t.Fatalf("Write: %d, %v", m, err)
			}
			rest = rest[n:]
		}
		if out.String() != want {
			t.Errorf("in steps of %d: %q, want %q", step, out.String(), want)
		}
	}
}
