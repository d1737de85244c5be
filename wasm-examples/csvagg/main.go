// Command csvagg groups the rows of CSV files by one or more columns and prints
// count, sum, mean, min and max of another, like GROUP BY in SQL:
//
//	csvagg -by region,product -value amount [-out file] [path…]
//
// It reads every *.csv below the paths (default /in) as a stream: memory grows with
// the number of groups, not of rows. The first row of each file names its columns.
// An empty cell is skipped; a cell that is not a number ends the program.
package main

import (
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	by := flag.String("by", "", "columns to group by, with commas between")
	value := flag.String("value", "", "column to aggregate")
	out := flag.String("out", "/out/groups.csv", "where the result goes as CSV")
	flag.Parse()
	if err := run(strings.Split(*by, ","), *value, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "csvagg:", err)
		os.Exit(1)
	}
}

func run(by []string, value, out string, paths []string) error {
	if by[0] == "" || value == "" {
		return errors.New("usage: csvagg -by column[,column...] -value column [path...]")
	}
	if len(paths) == 0 {
		paths = []string{"/in"}
	}
	t := newTable(by, value)
	for _, root := range paths {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || name != root && filepath.Ext(name) != ".csv" {
				return err
			}
			return addFile(t, name)
		})
		if err != nil {
			return err
		}
	}
	rows := append([][]string{t.header()}, t.rows()...)
	if err := printTable(rows, len(by)); err != nil {
		return err
	}
	return writeCSV(out, rows)
}

func addFile(t *table, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.ReuseRecord = true
	head, err := r.Read()
	if err != nil {
		return fmt.Errorf("%s: read the names of its columns: %w", name, err)
	}
	cols, err := t.columns(head)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for {
		row, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := t.add(row, cols); err != nil {
			line, _ := r.FieldPos(0)
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
}

// printTable aligns the keys left and the numbers right.
func printTable(rows [][]string, keys int) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := make([]int, keys)
	for _, row := range rows {
		for i := range width {
			width[i] = max(width[i], len([]rune(row[i])))
		}
	}
	for _, row := range rows {
		row = slices.Clone(row)
		for i := range width {
			row[i] += strings.Repeat(" ", width[i]-len([]rune(row[i])))
		}
		fmt.Fprintf(w, "%s\t\n", strings.Join(row, "\t"))
	}
	return w.Flush()
}

func writeCSV(name string, rows [][]string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := csv.NewWriter(f).WriteAll(rows); err != nil {
		return err
	}
	return f.Close()
}
