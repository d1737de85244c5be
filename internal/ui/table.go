package ui

import (
	"bufio"
	"slices"
	"strings"
)

// Column is one column of a table.
type Column struct {
	Name  string // the header on a terminal
	Right bool   // its values are aligned on the right, as numbers are
	Min   int    // the least width, for a table whose rows are flushed one by one
	// Stream says that the column holds CIDs, and that rows are flushed one by one: each is shown
	// by its ends, so that all rows have one width.
	Stream bool
	// Give is the place of the column among those that give room when a line is too wide: 1 is
	// first. A column with 0 is never shortened.
	Give int
}

// Table prints rows with the same columns.
type Table struct {
	screen  *Screen
	w       *bufio.Writer
	hidden  []bool // the columns that are left out
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
	return &Table{screen: s, w: bufio.NewWriterSize(s.w, 64<<10), columns: columns, hidden: make([]bool, len(columns))}
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
			t.w.WriteString(c.piped)
			break
		}
		t.w.WriteString(c.field() + " ")
	}
	return t.w.WriteByte('\n')
}

// Flush writes what was not written yet.
func (t *Table) Flush() error {
	if len(t.rows) > 0 {
		if err := t.lay(); err != nil {
			return err
		}
	}
	return t.w.Flush()
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
	return t.w.Flush()
}

// fit shortens ids in place until a line is not wider than the screen, and returns the widths of
// the columns. First ids are shown by their ends, in the order in which columns give. Then,
// while a line with all texts cut is too wide, columns of ids are left out: an id that was
// shortened is not cut again. Then the widest texts are cut, so that columns share the room.
func (t *Table) fit(texts [][]string) []int {
	widths := make([]int, len(t.columns))
	copy(widths, t.laid)
	for j, c := range t.columns {
		if c.Stream && !t.screen.whole {
			t.shortenIDs(texts, j, idTail)
		}
		widths[j] = max(widths[j], t.natural(texts, j))
	}
	if t.screen.whole {
		return widths
	}
	giving := t.giving()
	floors := make([]int, len(t.columns))
	for _, j := range giving {
		floors[j] = max(width(t.columns[j].Name), t.least(j))
		if t.laid != nil {
			floors[j] = max(floors[j], t.laid[j])
		}
		if t.excess(widths) <= 0 {
			continue
		}
		if ids := t.ids(j); len(ids) > 0 && !t.columns[j].Stream {
			t.shortenIDs(texts, j, tailOf(ids))
			widths[j] = t.natural(texts, j)
			floors[j] = max(floors[j], t.idWidth(texts, j))
		}
	}
	if t.laid == nil {
		t.leaveOut(widths, floors, giving)
	}
	t.share(widths, floors, giving)
	return widths
}

// excess is by how much a line is wider than the screen.
func (t *Table) excess(widths []int) int {
	sum := -gap
	for j, w := range widths {
		if !t.hidden[j] {
			sum += w + gap
		}
	}
	return sum - t.screen.width
}

// share makes the widest of the giving columns narrower, none below its floor, until a line fits.
func (t *Table) share(widths, floors, giving []int) {
	for _, j := range giving {
		widths[j] = max(floors[j], min(widths[j], t.screen.width))
	}
	for over := t.excess(widths); over > 0; over-- {
		widest := -1
		for _, j := range giving {
			if widths[j] > floors[j] && (widest < 0 || widths[j] > widths[widest]) {
				widest = j
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// leaveOut hides columns of ids, the first to give first, until a line fits whose texts are cut to
// the floors. The first column stays.
func (t *Table) leaveOut(widths, floors, giving []int) {
	least := slices.Clone(widths)
	for _, j := range giving {
		least[j] = min(least[j], floors[j])
	}
	for _, j := range giving {
		if t.excess(widths) <= 0 || t.excess(least) <= 0 {
			return
		}
		t.hidden[j] = j > 0 && (t.columns[j].Stream || len(t.ids(j)) > 0)
	}
}

// natural is the width of a column in which nothing is cut.
func (t *Table) natural(texts [][]string, j int) int {
	w := max(width(t.columns[j].Name), t.least(j))
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

// least is the least width of a column, whatever its rows hold.
func (t *Table) least(j int) int {
	c := t.columns[j]
	switch {
	case c.Stream && t.screen.whole:
		return wholeCID
	case c.Stream:
		return idHead + 1 + idTail
	}
	return c.Min
}

// ids returns the ids of a column, whole.
func (t *Table) ids(j int) []string {
	var ids []string
	for _, row := range t.rows {
		if row[j].id {
			ids = append(ids, row[j].shown)
		}
	}
	return ids
}

// shortenIDs shortens the ids of a column.
func (t *Table) shortenIDs(texts [][]string, j, tail int) {
	for i, row := range t.rows {
		if row[j].id {
			texts[i][j] = shorten(row[j].shown, tail)
		}
	}
}

// idWidth is the width of the ids of a column.
func (t *Table) idWidth(texts [][]string, j int) int {
	w := 0
	for i, row := range t.rows {
		if row[j].id {
			w = max(w, width(texts[i][j]))
		}
	}
	return w
}

// line writes a line of a terminal, at most as wide as the screen.
func (t *Table) line(texts []string, style func(j int) Style) {
	left := t.screen.width
	if t.screen.whole {
		left = 1 << 30
	}
	var b strings.Builder
	for j, text := range texts {
		if t.hidden[j] {
			continue
		}
		room := min(t.laid[j], left)
		text = cut(text, room)
		space := max(room-width(text), 0)
		if t.columns[j].Right {
			b.WriteString(strings.Repeat(" ", space))
		}
		b.WriteString(t.screen.paint(style(j), text))
		if left -= t.laid[j] + gap; left <= 0 {
			break
		}
		if t.columns[j].Right {
			space = 0
		}
		b.WriteString(strings.Repeat(" ", space+gap))
	}
	t.w.WriteString(strings.TrimRight(b.String(), " "))
	t.w.WriteByte('\n')
}
