package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "liftoff: error: Windows is not supported; run it inside WSL 2")
	os.Exit(125)
}
