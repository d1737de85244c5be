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

// quote returns s unchanged when it is safe in a line of output, else as a Go string
// literal: when it is empty, not UTF-8, holds a newline, an escape or another rune that
// does not print, or begins with a quote.
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

// lines is a buffered standard output.
type lines struct {
	*bufio.Writer
	json *json.Encoder // nil: text
}

func (p *process) lines(asJSON bool) lines {
	l := lines{Writer: bufio.NewWriterSize(p.stdout, 64<<10)}
	if asJSON {
		l.json = json.NewEncoder(l.Writer)
		l.json.SetEscapeHTML(false)
	}
	return l
}

// put writes v as a line of JSON, or a line of text in that format.
func (l lines) put(v any, format string, a ...any) error {
	if l.json != nil {
		return l.json.Encode(v)
	}
	_, err := fmt.Fprintf(l, format+"\n", a...)
	return err
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
