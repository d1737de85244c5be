package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// group is the running aggregate of one key.
type group struct {
	count         int64
	sum, min, max float64
}

func (g *group) add(x float64) {
	if g.count == 0 {
		g.min, g.max = x, x
	}
	g.count++
	g.sum += x
	g.min = min(g.min, x)
	g.max = max(g.max, x)
}

// table is all groups, by the values of the key columns.
type table struct {
	by     []string
	value  string
	groups map[string]*group
	key    []byte // scratch
}

// sep separates the parts of a key. It sorts before every printable character.
const sep = "\x00"

func newTable(by []string, value string) *table {
	return &table{by: by, value: value, groups: map[string]*group{}}
}

// columns finds the key columns and, last, the value column in a file's header.
func (t *table) columns(head []string) ([]int, error) {
	var cols []int
	for _, name := range append(slices.Clone(t.by), t.value) {
		i := slices.Index(head, name)
		if i < 0 {
			return nil, fmt.Errorf("no column %q among %q", name, head)
		}
		cols = append(cols, i)
	}
	return cols, nil
}

// add adds a row to its group. A row without a value also creates a group.
func (t *table) add(row []string, cols []int) error {
	t.key = t.key[:0]
	for i, c := range cols[:len(cols)-1] {
		if i > 0 {
			t.key = append(t.key, sep...)
		}
		t.key = append(t.key, row[c]...)
	}
	g := t.groups[string(t.key)]
	if g == nil {
		g = &group{}
		t.groups[string(t.key)] = g
	}
	cell := strings.TrimSpace(row[cols[len(cols)-1]])
	if cell == "" {
		return nil
	}
	x, err := strconv.ParseFloat(cell, 64)
	if err != nil {
		return fmt.Errorf("%s is %q, which is no number", t.value, cell)
	}
	g.add(x)
	return nil
}

func (t *table) header() []string {
	return append(slices.Clone(t.by), "count", "sum", "mean", "min", "max")
}

// rows returns the result, sorted by key. A group without values has count 0 and
// empty cells.
func (t *table) rows() [][]string {
	var rows [][]string
	for _, key := range slices.Sorted(maps.Keys(t.groups)) {
		g := t.groups[key]
		row := append(strings.Split(key, sep), strconv.FormatInt(g.count, 10))
		if g.count == 0 {
			rows = append(rows, append(row, "", "", "", ""))
			continue
		}
		for _, x := range []float64{g.sum, g.sum / float64(g.count), g.min, g.max} {
			row = append(row, strconv.FormatFloat(x, 'f', 2, 64))
		}
		rows = append(rows, row)
	}
	return rows
}
