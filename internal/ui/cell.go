package ui

import (
	"strconv"
	"strings"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/units"
)

// Cell is one value in both forms.
//
// Invariant: its texts hold printable runes only.
type Cell struct {
	piped string
	shown string
	id    bool // an id in whole length, which may be shown as the two ends of it
	list  bool // piped holds no space outside of quotes
	words bool // piped is several texts
	style Style
}

// None is a value that does not exist.
func None() Cell { return Cell{piped: "-", shown: "-", style: Dim} }

// Text is any text, however hostile.
func Text(s string) Cell {
	q := Quote(s)
	return Cell{piped: q, shown: q}
}

// TextOr is a text, or None when it is empty.
func TextOr(s string) Cell {
	if s == "" {
		return None()
	}
	return Text(s)
}

// Both is a text for a pipe and another for a terminal.
func Both(piped, shown string) Cell { return Cell{piped: Quote(piped), shown: Quote(shown)} }

// Words is several texts with a space between two of them; one that holds a space is quoted, unless
// it is the last.
func Words(texts ...string) Cell {
	all := make([]string, len(texts))
	for i, s := range texts {
		if all[i] = Quote(s); i < len(texts)-1 {
			all[i] = field(all[i])
		}
	}
	joined := strings.Join(all, " ")
	return Cell{piped: joined, shown: joined, words: true}
}

// field returns the text of a cell in a pipe when another field follows.
func (c Cell) field() string {
	switch {
	case c.list:
		return c.piped
	case c.words:
		return strconv.Quote(c.piped)
	}
	return field(c.piped)
}

// List is any number of texts, separated by commas. One that holds a comma, a space or a quotation
// mark is quoted.
func List(all []string) Cell {
	if len(all) == 0 {
		return None()
	}
	texts := make([]string, len(all))
	for i, s := range all {
		if texts[i] = Quote(s); texts[i][0] != '"' && strings.ContainsAny(s, `, "`) {
			texts[i] = strconv.Quote(s)
		}
	}
	joined := strings.Join(texts, ",")
	return Cell{piped: joined, shown: joined, list: true}
}

// Int is a number.
func Int[N ~int | ~int64 | ~uint64](n N) Cell {
	text := strconv.FormatInt(int64(n), 10)
	if n > 0 {
		text = strconv.FormatUint(uint64(n), 10)
	}
	return Cell{piped: text, shown: text}
}

// Bytes is a number of bytes.
func Bytes[N ~int | ~int64 | ~uint64](n N) Cell {
	return Cell{piped: Int(n).piped, shown: units.Bytes(n)}
}

// Time is a moment.
func (s *Screen) Time(t time.Time) Cell {
	return Cell{piped: t.UTC().Format(time.RFC3339), shown: ago(t, s.now)}
}

// TimeOr is a moment, or the word otherwise for the zero time.
func (s *Screen) TimeOr(t time.Time, otherwise string) Cell {
	if t.IsZero() {
		return Cell{piped: otherwise, shown: otherwise, style: Dim}
	}
	return s.Time(t)
}

// Duration is a span of time. In a pipe it is a number of nanoseconds.
func Duration(d time.Duration) Cell {
	return Cell{piped: strconv.FormatInt(int64(d), 10), shown: short(d)}
}

// ID is a CID or a DID of which commands accept no prefix. It is shown whole where there is room.
func ID(s string) Cell {
	c := Text(s)
	c.id = true
	return c
}

// IDOr is an ID, or None when it is empty.
func IDOr(s string) Cell {
	if s == "" {
		return None()
	}
	return ID(s)
}

// Prefix is an id of which commands accept a prefix, with the one that is shown.
func (s *Screen) Prefix(id, prefix string) Cell {
	if s.whole {
		prefix = id
	}
	return Cell{piped: Quote(id), shown: Quote(prefix), style: Bold}
}

// Shown is a text for a terminal alone: a pipe gets no line for it. It is for facts only.
func Shown(s string) Cell { return Cell{shown: Quote(s)} }

// Piped returns the cell for a pipe alone: a terminal gets no line for it. It is for facts only.
func (c Cell) Piped() Cell { return Cell{piped: c.piped} }

// In returns the cell in a style.
func (c Cell) In(style Style) Cell {
	c.style = style
	return c
}

// Then returns the cell with a mark behind its text.
func (c Cell) Then(mark string) Cell {
	c.piped, c.shown = c.piped+mark, c.shown+mark
	return c
}
