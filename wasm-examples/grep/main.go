// Command grep prints the lines that match a regular expression (Go's syntax), as
// path:line:text. It is a plain Go program without any use of liftoff.
//
//	grep [-i] [-l] pattern [path…]
//
// Without a path it searches /in. Files with a NUL in their first 8 KiB are binary
// and skipped. The exit code is 0 if a line matched, 1 if none did, 2 on an error,
// as with the usual grep.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

func main() {
	fold := flag.Bool("i", false, "ignore case")
	list := flag.Bool("l", false, "print the names of files that match, each once")
	flag.Parse()
	matched, err := run(flag.Args(), *fold, *list)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "grep:", err)
		os.Exit(2)
	case !matched:
		os.Exit(1)
	}
}

func run(args []string, fold, list bool) (matched bool, err error) {
	if len(args) == 0 {
		return false, fmt.Errorf("usage: grep [-i] [-l] pattern [path...]")
	}
	pattern, roots := args[0], args[1:]
	if fold {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return false, err
	}
	if len(roots) == 0 {
		roots = []string{"/in"}
	}
	out := bufio.NewWriter(os.Stdout)
	for _, root := range roots {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			hit, err := search(out, re, name, list)
			matched = matched || hit
			return err
		})
		if err != nil {
			return matched, err
		}
	}
	return matched, out.Flush()
}

// search prints what matches in one file. Lines may be of any length.
func search(out io.Writer, re *regexp.Regexp, name string, list bool) (matched bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	if head, _ := in.Peek(8 << 10); bytes.IndexByte(head, 0) >= 0 {
		return false, nil
	}
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return matched, err
		}
		atEnd := err == io.EOF
		if atEnd && len(line) == 0 {
			return matched, nil
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if re.Match(line) {
			matched = true
			if list {
				_, err = fmt.Fprintln(out, name)
				return true, err
			}
			if _, err := fmt.Fprintf(out, "%s:%d:%s\n", name, n, line); err != nil {
				return true, err
			}
		}
		if atEnd {
			return matched, nil
		}
	}
}
