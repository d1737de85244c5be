package ui

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
)

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 5*3600))

// terminal returns a screen that a terminal would be, without one.
func terminal(b *bytes.Buffer, columns int) *Screen {
	return &Screen{w: b, terminal: true, width: columns, now: epoch}
}

func TestQuote(t *testing.T) {
	for s, want := range map[string]string{
		"plain": "plain", "with space": "with space", "ümläut 漢字": "ümläut 漢字",
		"": `""`, "two\nlines": `"two\nlines"`, "\x1b[31mred": `"\x1b[31mred"`, `"quoted"`: `"\"quoted\""`, "bad\xff": `"bad\xff"`,
	} {
		if got := Quote(s); got != want {
			t.Errorf("Quote(%q) = %s, want %s", s, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "now", time.Second: "1s ago", 119 * time.Second: "119s ago", 2 * time.Minute: "2m ago", 119 * time.Minute: "119m ago",
		2 * time.Hour: "2h ago", 47 * time.Hour: "47h ago", 48 * time.Hour: "2d ago", 729 * 24 * time.Hour: "729d ago", 730 * 24 * time.Hour: "2y ago",
		-30 * 24 * time.Hour: "in 30d", -30*24*time.Hour + time.Minute: "in 30d", 150 * time.Second: "3m ago", 1700 * time.Millisecond: "2s ago",
		-time.Millisecond: "now",
	} {
		if got := ago(epoch.Add(-d), epoch); got != want {
			t.Errorf("%v before: %q, want %q", d, got, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	of := Prefixes([]string{"j-aaaaaa1", "j-aaaaaa2x", "j-b", "j-b"}, 4)
	for id, want := range map[string]string{"j-aaaaaa1": "j-aaaaaa1", "j-aaaaaa2x": "j-aaaaaa2", "j-b": "j-b"} {
		if got := of(id); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

// TestShorten shortens ids that differ only in their middle: more of the end is left.
func TestShorten(t *testing.T) {
	same := strings.Repeat("x", 20)
	ids := []string{"bafyre" + same + "aaaaaaaaaa", "bafyre" + same + "abaaaaaaaa", "did:key:z6Mkhe" + same + "123456"}
	tail := tailOf(ids)
	seen := map[string]bool{}
	for _, id := range ids {
		seen[shorten(id, tail)] = true
	}
	if len(seen) != 3 || tail != 10 {
		t.Errorf("tail %d: %v", tail, seen)
	}
	if got := shorten(ids[2], 6); got != "z6Mkhe…123456" {
		t.Errorf("%q", got)
	}
	if got := shorten("short", 6); got != "short" {
		t.Errorf("%q", got)
	}
}

// TestForms prints the same cells in a pipe and on a terminal.
func TestForms(t *testing.T) {
	columns := []Column{{Name: "ID", Give: 2}, {Name: "SIZE", Right: true}, {Name: "WHEN"}, {Name: "LABELS"}, {Name: "NAME", Give: 1}}
	rows := func(s *Screen) string {
		table := s.Table(columns...)
		table.Row(ID("bafybeiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), Bytes(uint64(1536)), s.Time(epoch.Add(-time.Hour)), List([]string{"a=1", "b=x,y"}), Text("two words"))
		table.Row(None(), Int(-7), s.TimeOr(time.Time{}, "never"), List(nil), Text("漢字\x1b"))
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		return ""
	}
	for _, c := range []struct {
		screen func(b *bytes.Buffer) *Screen
		want   string
	}{
		{func(b *bytes.Buffer) *Screen { return NewScreen(b, Options{Now: epoch}) }, `bafybeiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1536 2030-01-01T21:04:05Z a=1,"b=x,y" two words
- -7 never - "漢字\x1b"
`},
		{func(b *bytes.Buffer) *Screen { return terminal(b, 100) }, `ID                                                     SIZE  WHEN     LABELS       NAME
bafybeiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  1.5 KiB  60m ago  a=1,"b=x,y"  two words
-                                                        -7  never    -            "漢字\x1b"
`},
		{func(b *bytes.Buffer) *Screen { return terminal(b, 53) }, `ID                SIZE  WHEN     LABELS       NAME
bafybe…aaaaaa  1.5 KiB  60m ago  a=1,"b=x,y"  two wo…
-                   -7  never    -            "漢字\…
`},
	} {
		var b bytes.Buffer
		rows(c.screen(&b))
		if got := b.String(); got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
}

// longID is an id of 59 bytes that ends in tail.
func longID(tail string) string { return "bafyrei" + strings.Repeat("a", 52-len(tail)) + tail }

// TestStream flushes row after row: all of them have the columns of the first.
func TestStream(t *testing.T) {
	const want = `STATE   OUTCOME        ENTRY
failed  -              a
ok      bafyre…uvwxyz  long name of an entry
ok      bafyre…123456  b
`
	for _, columns := range []int{45, 60, 200} {
		var b bytes.Buffer
		table := terminal(&b, columns).Table(Column{Name: "STATE", Min: len("failed")}, Column{Name: "OUTCOME", Stream: true, Give: 1}, Column{Name: "ENTRY", Give: 2})
		for _, row := range [][]Cell{
			{Text("failed"), None(), Text("a")},
			{Text("ok"), ID(longID("uvwxyz")), Text("long name of an entry")},
			{Text("ok"), ID(longID("123456")), Text("b")},
		} {
			table.Row(row...)
			table.Flush()
		}
		if got := b.String(); got != want {
			t.Errorf("%d columns: got\n%s\nwant\n%s", columns, got, want)
		}
	}
	var b bytes.Buffer
	screen := terminal(&b, 40)
	screen.whole = true
	table := screen.Table(Column{Name: "OUTCOME", Stream: true, Give: 1}, Column{Name: "ENTRY"})
	for _, id := range []Cell{None(), ID(longID("uvwxyz"))} {
		table.Row(id, Text("entry"))
		table.Flush()
	}
	for line := range strings.Lines(b.String()) {
		if at := strings.LastIndex(strings.ToLower(line), "entry"); at != 61 {
			t.Errorf("the last column begins at %d: %q", at, line)
		}
	}
}

// TestNarrow shows tables that are too wide: ids are shortened once or left out, and texts share
// the room that is left.
func TestNarrow(t *testing.T) {
	const did = "did:key:z6Mkhe"
	rows := func(columns int) string {
		var b bytes.Buffer
		table := terminal(&b, columns).Table(Column{Name: "NAME"}, Column{Name: "PROGRAM", Give: 1}, Column{Name: "PROBLEM", Give: 4}, Column{Name: "TASK", Give: 3}, Column{Name: "KEY", Give: 2})
		table.Row(Text("docker"), Text("/usr/local/bin/liftoff-executor-docker"), Text("the protocol versions 7 and 8 are unknown here"), ID(longID("uvwxyz")), ID(did+longID("123456")))
		table.Flush()
		return b.String()
	}
	for columns, want := range map[int]string{
		100: `NAME    PROGRAM                         PROBLEM                         TASK           KEY
docker  /usr/local/bin/liftoff-execut…  the protocol versions 7 and 8…  bafyre…uvwxyz  z6Mkhe…123456
`,
		62: `NAME    PROGRAM      PROBLEM      TASK           KEY
docker  /usr/local…  the protoc…  bafyre…uvwxyz  z6Mkhe…123456
`,
		50: `NAME    PROGRAM       PROBLEM        TASK
docker  /usr/local/…  the protocol…  bafyre…uvwxyz
`,
		25: `NAME    PROGRAM  PROBLEM
docker  /usr/l…  the pro…
`,
		20: `NAME    PROGRAM  PR…
docker  /usr/l…  th…
`,
	} {
		if got := rows(columns); got != want {
			t.Errorf("%d columns: got\n%s\nwant\n%s", columns, got, want)
		}
	}
}

// TestLongTable prints more rows than are laid out together: the header comes once, and later
// columns begin where the first ones do.
func TestLongTable(t *testing.T) {
	var b bytes.Buffer
	table := terminal(&b, 80).Table(Column{Name: "N", Right: true}, Column{Name: "TEXT"})
	for n := range 2*maxLaid + 10 {
		table.Row(Int(n+100000), Text("x"))
	}
	table.Flush()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 2*maxLaid+11 || strings.Count(b.String(), "TEXT") != 1 || len(table.rows) != 0 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, l := range lines {
		if at := strings.LastIndexAny(l, "xT"); at < 8 {
			t.Fatalf("line %q", l)
		}
	}
}

func TestFacts(t *testing.T) {
	add := func(f *Facts) {
		f.Add("ran_on", Text("a b"))
		f.Add("took", Duration(1234567))
		f.Add("read", Shown("3 blocks"))
		f.Add("read_blocks", Int(3).Piped())
		f.Add("export", Words("a b", "c d", "e f"))
	}
	var piped, shown bytes.Buffer
	f := NewScreen(&piped, Options{}).Facts()
	add(f)
	f.Flush()
	if want := "ran_on a b\ntook 1234567\nread_blocks 3\nexport \"a b\" \"c d\" e f\n"; piped.String() != want {
		t.Errorf("piped %q, want %q", piped.String(), want)
	}
	f = terminal(&shown, 10).Facts()
	add(f)
	f.Flush()
	if want := "ran on  a b\ntook    1.23ms\nread    3 blocks\nexport  \"a b\" \"c d\" e f\n"; shown.String() != want {
		t.Errorf("shown %q, want %q", shown.String(), want)
	}
}

// FuzzTable prints hostile texts on narrow terminals and into pipes: no line is too wide, a row is
// one line, no rune comes out that does not print, and the fields of a pipe can be told apart.
func FuzzTable(f *testing.F) {
	for _, s := range []string{"", "plain", "a b", "\x1b[2J", "漢字 wide", "e\u0301\u200d\U0001f469\u200d\U0001f680", "\xff\xfe", "\"q\"", "\u202e\u00a0\t", "…", "🇩🇪🇩"} {
		f.Add(s, s+"2", uint8(20))
	}
	f.Fuzz(func(t *testing.T, a, b string, columns uint8) {
		width := int(columns) + 1
		var shown, piped bytes.Buffer
		onTerminal, inPipe := terminal(&shown, width), NewScreen(&piped, Options{})
		for _, s := range []*Screen{onTerminal, inPipe} {
			table := s.Table(Column{Name: "A", Give: 1}, Column{Name: "B", Right: true, Give: 2}, Column{Name: "C"}, Column{Name: "D"})
			table.Row(ID(a), Text(b), List([]string{a, b}), Text(a))
			table.Row(Text(b), TextOr(a), None(), Words(a, b))
			if err := table.Flush(); err != nil {
				t.Fatal(err)
			}
			s.Facts().Flush()
		}
		for out, lines := range map[string]int{shown.String(): 3, piped.String(): 2} {
			if n := strings.Count(out, "\n"); n != lines {
				t.Fatalf("%d lines in %q, want %d", n, out, lines)
			}
			for _, r := range out {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Fatalf("the rune %q in %q", r, out)
				}
			}
		}
		for line := range strings.Lines(shown.String()) {
			if w := uniseg.StringWidth(strings.TrimSuffix(line, "\n")); w > width {
				t.Fatalf("%d columns on a terminal of %d: %q", w, width, line)
			}
		}
		first, _, _ := strings.Cut(piped.String(), "\n")
		for range 3 {
			rest, ok := skipField(first)
			if !ok {
				t.Fatalf("fields cannot be told apart: %q", piped.String())
			}
			first = rest
		}
		if first != Quote(a) {
			t.Fatalf("the last field is %q, want %q", first, Quote(a))
		}
	})
}

// skipField skips a field as a reader of lines would: up to a space that is not inside quotes.
func skipField(s string) (rest string, ok bool) {
	quoted, escaped := false, false
	for i := range len(s) {
		switch {
		case escaped:
			escaped = false
		case quoted && s[i] == '\\':
			escaped = true
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ' ' && !quoted:
			return s[i+1:], true
		}
	}
	return "", false
}
