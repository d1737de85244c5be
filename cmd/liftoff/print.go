//go:build !windows

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// quote returns s as it is when it can stand in a line, and as a Go string literal
// when it cannot: when it holds a newline, a terminal's escape or another rune that
// does not print, is empty, not UTF-8, or could be taken for a literal itself.
func quote(s string) string {
	if s == "" || s[0] == '"' || !utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// clean returns a message as one line that is harmless to a terminal: the names
// inside it may be hostile.
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

// lines is a buffered standard output for answers of many lines.
type lines struct {
	*bufio.Writer
	json *json.Encoder // nil: lines for people
}

func (p *process) lines(asJSON bool) lines {
	l := lines{Writer: bufio.NewWriterSize(p.stdout, 64<<10)}
	if asJSON {
		l.json = json.NewEncoder(l.Writer)
		l.json.SetEscapeHTML(false)
	}
	return l
}

// put writes v as a line of JSON, or the line that format makes.
func (l lines) put(v any, format string, a ...any) error {
	if l.json != nil {
		return l.json.Encode(v)
	}
	_, err := fmt.Fprintf(l, format+"\n", a...)
	return err
}

// say writes a line for people to standard error.
func (p *process) say(format string, a ...any) { fmt.Fprintf(p.stderr, format+"\n", a...) }

// warn writes a line that a user should see.
func (p *process) warn(format string, a ...any) {
	fmt.Fprintf(p.stderr, "liftoff: warning: %s\n", clean(fmt.Sprintf(format, a...)))
}

// printable makes a guest's bytes harmless to a terminal: control characters but for
// newline, tab and carriage return come out as ^X, C1 controls as ^[X.
type printable struct {
	w    io.Writer
	lead bool // the last byte was 0xc2, which may begin a C1 control
}

// forTerminal returns w, made harmless when it is a terminal.
func forTerminal(w io.Writer) io.Writer {
	if isTerminal(w) {
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
	case c == 0xc2: // kept back until the next byte
		return out
	case c == '\n' || c == '\t' || c == '\r':
		return append(out, c)
	case c < 0x20 || c == 0x7f:
		return append(out, '^', c^0x40)
	}
	return append(out, c)
}

// count writes a number of things: 1 block, 3 blocks.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// part writes a piece of a line.
func (l lines) part(format string, a ...any) error {
	_, err := fmt.Fprintf(l, format, a...)
	return err
}

// line writes one line and flushes.
func (l lines) line(s string) error {
	if err := l.put(nil, "%s", s); err != nil {
		return err
	}
	return l.Flush()
}
