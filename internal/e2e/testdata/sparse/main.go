// Command sparse reads as many MiB of /in/0 as its argument says, each from another part of the
// file, and prints the number of bytes read.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	parts, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	f, err := os.Open("/in/0")
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	const part = 1 << 20
	buf := make([]byte, part)
	total := 0
	for i := range parts {
		// The start of a leaf, far from the previous one.
		at := info.Size() / part * int64(i*7%parts) / int64(parts) * part
		n, err := f.ReadAt(buf, at)
		if err != nil {
			return err
		}
		total += n
	}
	fmt.Println(total)
	return nil
}
