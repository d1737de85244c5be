// Command work prints "working", counts for as many rounds of a million as its first argument
// says, and prints the count and its second argument.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	rounds, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("working")
	sum := uint32(1)
	for range rounds {
		for i := range uint32(1_000_000) {
			sum = sum*1664525 + i
		}
	}
	fmt.Println(sum, os.Args[2])
}
