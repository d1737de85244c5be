// Command upper prints its standard input in upper case.
package main

import (
	"bytes"
	"io"
	"os"
)

func main() {
	b := make([]byte, 64<<10)
	for {
		n, err := os.Stdin.Read(b)
		if _, werr := os.Stdout.Write(bytes.ToUpper(b[:n])); werr != nil {
			os.Exit(2)
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			os.Exit(1)
		}
	}
}
