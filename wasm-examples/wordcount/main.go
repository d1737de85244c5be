// Command wordcount counts the lines, words and bytes of every file below a folder
// and ranks the words. It is a plain Go program without any use of liftoff.
//
//	wordcount [-top n] [-report file] [folder]
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// report is the program's result.
type report struct {
	Total Count  `json:"total"`
	Files []File `json:"files"` // in the order of the walk, which is sorted
	Top   []Rank `json:"top"`
}

// File is the part of one file.
type File struct {
	Path string `json:"path"`
	Count
}

func main() {
	top := flag.Int("top", 10, "how many words to rank")
	out := flag.String("report", "/out/report.json", "where the JSON report goes")
	flag.Parse()
	dir := "/in"
	if flag.NArg() > 0 {
		dir = flag.Arg(0)
	}
	if err := run(dir, *out, max(*top, 0)); err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

func run(dir, out string, top int) error {
	c := newCounter()
	var r report
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n, err := countFile(c, name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		r.Files = append(r.Files, File{filepath.ToSlash(rel), n})
		r.Total.add(n)
		return nil
	})
	if err != nil {
		return err
	}
	r.Top = c.top(top)
	if err := printTable(r); err != nil {
		return err
	}
	return writeReport(out, r)
}

func countFile(c *counter, name string) (Count, error) {
	f, err := os.Open(name)
	if err != nil {
		return Count{}, err
	}
	defer f.Close()
	return c.read(f)
}

// printTable prints one line per entry of the folder, and the ranking.
func printTable(r report) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%8s %10s %12s %12s\n", "files", "lines", "words", "bytes")
	line := func(files int, n Count, name string) {
		fmt.Fprintf(&b, "%8d %10d %12d %12d  %s\n", files, n.Lines, n.Words, n.Bytes, name)
	}
	for i := 0; i < len(r.Files); {
		entry := first(r.Files[i].Path)
		var sum Count
		from := i
		for ; i < len(r.Files) && first(r.Files[i].Path) == entry; i++ {
			sum.add(r.Files[i].Count)
		}
		line(i-from, sum, entry)
	}
	line(len(r.Files), r.Total, "total")
	if len(r.Top) > 0 {
		fmt.Fprintln(&b)
	}
	for _, w := range r.Top {
		fmt.Fprintf(&b, "%8d %s\n", w.Count, w.Word)
	}
	_, err := os.Stdout.Write(b.Bytes())
	return err
}

// first returns the first segment of a path.
func first(path string) string {
	head, _, _ := strings.Cut(path, "/")
	return head
}

func writeReport(name string, r report) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644)
}
