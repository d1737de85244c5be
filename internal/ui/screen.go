package ui

import (
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"
)

// Options is what decides the form of an answer, besides the stream itself.
type Options struct {
	Getenv  func(string) string // nil: an empty environment
	NoColor bool                // --no-color
	Whole   bool                // --no-trunc: no id is shortened and no text is cut
	Now     time.Time           // relative times count from it
}

// Screen is the stream to which an answer goes.
type Screen struct {
	w        io.Writer
	terminal bool
	color    bool
	whole    bool
	width    int // columns of a terminal, at least 1
	now      time.Time
}

// defaultWidth is that of a terminal that does not report its width.
const defaultWidth = 80

// NewScreen finds out what w is.
func NewScreen(w io.Writer, o Options) *Screen {
	getenv := o.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	s := &Screen{w: w, whole: o.Whole, now: o.Now, width: defaultWidth}
	f := file(w)
	if f == nil || !term.IsTerminal(int(f.Fd())) {
		return s
	}
	s.terminal = true
	s.color = !o.NoColor && getenv("NO_COLOR") == "" && !isDumb(getenv)
	if n, err := strconv.Atoi(getenv("COLUMNS")); err == nil && n > 0 {
		s.width = n
	}
	if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
		s.width = n
	}
	return s
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f := file(w)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// CanRedraw reports whether w is a terminal on which a line can be written over, as a progress
// display does.
func CanRedraw(w io.Writer, getenv func(string) string) bool { return IsTerminal(w) && !isDumb(getenv) }

// isDumb reports whether the terminal understands no control sequences.
func isDumb(getenv func(string) string) bool { return getenv("TERM") == "dumb" }

// file returns the file below w: w itself, or what its method Unwrap returns. It is nil when
// w is not backed by a file.
func file(w io.Writer) *os.File {
	for {
		switch v := w.(type) {
		case *os.File:
			return v
		case interface{ Unwrap() io.Writer }:
			w = v.Unwrap()
		default:
			return nil
		}
	}
}

// Terminal reports whether answers are for a person at a terminal.
func (s *Screen) Terminal() bool { return s.terminal }
