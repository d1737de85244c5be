//go:build !windows

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
)

// quote returns s as it can stand in a line, see ui.Quote.
func quote(s string) string { return ui.Quote(s) }

// clean returns a message as one line that is safe for a terminal: names inside it may be
// hostile.
func clean(s string) string { return visible(strings.TrimRight(s, "\n"), `\n`) }

// cleanBlock is clean for text of several lines.
func cleanBlock(s string) string { return visible(s, "\n") }

func visible(s, newline string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(newline)
		case r == '\t' || strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteRune(utf8.RuneError)
		}
	}
	return b.String()
}

// say writes a line to standard error.
func (p *process) say(format string, a ...any) { fmt.Fprintf(p.stderr, format+"\n", a...) }

// warn writes a warning to standard error.
func (p *process) warn(format string, a ...any) {
	fmt.Fprintf(p.stderr, "liftoff: warning: %s\n", clean(fmt.Sprintf(format, a...)))
}

// printable makes the output of a guest safe for a terminal: control characters, except
// newline, tab and carriage return, become ^X; C1 controls become ^[X.
type printable struct {
	w    io.Writer
	lead bool // the last byte was 0xc2, which may begin a C1 control
}

// forTerminal returns w, wrapped in a printable if it is a terminal.
func forTerminal(w io.Writer) io.Writer {
	if ui.IsTerminal(w) {
		return &printable{w: w}
	}
	return w
}

func (t *printable) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b)+16)
	for _, c := range b {
		switch {
		case t.lead && c >= 0x80 && c < 0xa0:
			out = append(out, '^', '[', c-0x40)
		case t.lead:
			out = append(out, 0xc2)
			fallthrough
		default:
			out = t.plain(out, c)
		}
		t.lead = c == 0xc2
	}
	if _, err := t.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (t *printable) plain(out []byte, c byte) []byte {
	switch {
	case c == 0xc2: // written with the next byte
		return out
	case c == '\n' || c == '\t' || c == '\r':
		return append(out, c)
	case c < 0x20 || c == 0x7f:
		return append(out, '^', c^0x40)
	}
	return append(out, c)
}

// count formats a number of things: 1 block, 3 blocks.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
