// Command spin prints a line and never ends.
package main

import "fmt"

var n uint64

func main() {
	fmt.Println("spinning")
	for {
		n++
	}
}
