// Command hash reads /in/0 from beginning to end and prints a checksum.
package main

import (
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

func main() {
	f, err := os.Open("/in/0")
	if err == nil {
		sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
		var n int64
		if n, err = io.CopyBuffer(sum, struct{ io.Reader }{f}, make([]byte, 1<<20)); err == nil {
			fmt.Printf("%d bytes, crc32c %08x\n", n, sum.Sum32())
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
