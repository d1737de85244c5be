package ui

import (
	"bufio"
	"strings"
)

// Facts prints keys with values, one on each line.
type Facts struct {
	screen *Screen
	out    *bufio.Writer
	keys   []string
	cells  []Cell
}

// Facts returns the facts of one thing.
func (s *Screen) Facts() *Facts { return &Facts{screen: s, out: bufio.NewWriter(s.w)} }

// Add prints a fact. The key is a word, or several with "_" between them; a terminal shows
// spaces in place of "_".
func (f *Facts) Add(key string, c Cell) {
	f.keys, f.cells = append(f.keys, key), append(f.cells, c)
}

// Flush writes all facts: in a pipe a line for each, the key, a space, the value; on a terminal
// the values stand below each other.
func (f *Facts) Flush() error {
	wide := 0
	for i, k := range f.keys {
		if f.cells[i].shown != "" {
			wide = max(wide, width(k))
		}
	}
	for i, k := range f.keys {
		c := f.cells[i]
		if !f.screen.terminal && c.piped != "" {
			f.out.WriteString(k + " " + c.piped + "\n")
		}
		if !f.screen.terminal || c.shown == "" {
			continue
		}
		key := pad(strings.ReplaceAll(k, "_", " "), wide, false)
		f.out.WriteString(f.screen.paint(Bold, key) + "  " + f.screen.paint(c.style, c.shown) + "\n")
	}
	f.keys, f.cells = nil, nil
	return f.out.Flush()
}
