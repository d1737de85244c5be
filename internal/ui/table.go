package ui

import (
	"bufio"
	"strings"
)

// Column is one column of a table.
type Column struct {
	Name  string // the header on a terminal
	Right bool   // its values are aligned on the right, as numbers are
	Min   int    // the least width, for a table whose rows are flushed one by one
	// Give is the place of the column among those that give room when a line is too wide: 1 is
	// first. A column with 0 is never shortened.
	Give int
}

// Table prints rows with the same columns.
type Table struct {
	screen  *Screen
	out     *bufio.Writer
	columns []Column
	rows    [][]Cell // not written yet
	laid    []int    // the widths of what was written; nil: nothing was
}

// maxLaid is how many rows are laid out together: it bounds what a long listing holds in memory.
// Columns of later rows are at least as wide as those before them.
const maxLaid = 4096

// gap is the number of spaces between two columns.
const gap = 2

// Table returns a table of the screen.
func (s *Screen) Table(columns ...Column) *Table {
	return &Table{screen: s, out: bufio.NewWriterSize(s.w, 64<<10), columns: columns}
}

// Row prints a row, which has a cell for each column. In a pipe it is a line with one space
// between two fields; a field with a space in it is quoted, unless it is the last.
func (t *Table) Row(cells ...Cell) error {
	if t.screen.terminal {
		if t.rows = append(t.rows, cells); len(t.rows) < maxLaid {
			return nil
		}
		return t.lay()
	}
	for i, c := range cells {
		if i == len(cells)-1 {
			t.out.WriteString(c.piped)
			break
		}
		t.out.WriteString(c.field() + " ")
	}
	return t.out.WriteByte('\n')
}

// Flush writes what was not written yet.
func (t *Table) Flush() error {
	if len(t.rows) > 0 {
		if err := t.lay(); err != nil {
			return err
		}
	}
	return t.out.Flush()
}

// lay writes the rows of a terminal.
func (t *Table) lay() error {
	texts := make([][]string, len(t.rows))
	for i, row := range t.rows {
		texts[i] = make([]string, len(row))
		for j, c := range row {
			texts[i][j] = c.shown
		}
	}
	first := t.laid == nil
	t.laid = t.fit(texts)
	if first {
		header := make([]string, len(t.columns))
		for j, c := range t.columns {
			header[j] = c.Name
		}
		t.line(header, func(int) Style { return Bold })
	}
	for i, row := range t.rows {
		t.line(texts[i], func(j int) Style { return row[j].style })
	}
	t.rows = t.rows[:0]
	return t.out.Flush()
}

// fit shortens texts in place until a line is not wider than the screen, and returns the widths
// of the columns. First ids are shown by their ends, then texts are cut; the columns give in
// their order.
func (t *Table) fit(texts [][]string) []int {
	widths := make([]int, len(t.columns))
	copy(widths, t.laid)
	for j := range t.columns {
		widths[j] = max(widths[j], t.natural(texts, j))
	}
	if t.screen.whole {
		return widths
	}
	excess := func() int {
		sum := gap * (len(widths) - 1)
		for _, w := range widths {
			sum += w
		}
		return sum - t.screen.width
	}
	for _, j := range t.giving() {
		if excess() <= 0 {
			return widths
		}
		if t.shortenIDs(texts, j) {
			widths[j] = t.natural(texts, j)
		}
	}
	for _, j := range t.giving() {
		over := excess()
		if over <= 0 {
			return widths
		}
		widths[j] = max(min(widths[j], width(t.columns[j].Name)), widths[j]-over)
	}
	return widths
}

// natural is the width of a column in which nothing is cut.
func (t *Table) natural(texts [][]string, j int) int {
	w := max(width(t.columns[j].Name), t.columns[j].Min)
	for _, row := range texts {
		w = max(w, width(row[j]))
	}
	return w
}

// giving returns the columns that can give room, in their order.
func (t *Table) giving() []int {
	var all []int
	for place := 1; place <= len(t.columns); place++ {
		for j, c := range t.columns {
			if c.Give == place {
				all = append(all, j)
			}
		}
	}
	return all
}

// shortenIDs shortens the ids of a column, and reports whether there are any.
func (t *Table) shortenIDs(texts [][]string, j int) bool {
	var ids []string
	for _, row := range t.rows {
		if row[j].id {
			ids = append(ids, row[j].shown)
		}
	}
	tail := tailOf(ids)
	for i, row := range t.rows {
		if row[j].id {
			texts[i][j] = shorten(texts[i][j], tail)
		}
	}
	return len(ids) > 0
}

// line writes a line of a terminal, at most as wide as the screen.
func (t *Table) line(texts []string, style func(j int) Style) {
	left := t.screen.width
	if t.screen.whole {
		left = 1 << 30
	}
	var b strings.Builder
	for j, text := range texts {
		last := j == len(texts)-1
		text = cut(text, min(t.laid[j], left))
		space := max(t.laid[j]-width(text), 0)
		if t.columns[j].Right && space < left {
			b.WriteString(strings.Repeat(" ", space))
		}
		b.WriteString(t.screen.paint(style(j), text))
		if left -= t.laid[j] + gap; left <= 0 || last {
			break
		}
		if t.columns[j].Right {
			space = 0
		}
		b.WriteString(strings.Repeat(" ", space+gap))
	}
	t.out.WriteString(strings.TrimRight(b.String(), " "))
	t.out.WriteByte('\n')
}
