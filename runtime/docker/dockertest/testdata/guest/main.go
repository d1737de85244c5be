// Command guest is the program of the test images.
package main

import (
	"context"
	"os"

	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest/guest"
)

func main() {
	os.Exit(guest.Act(context.Background(), guest.Env{
		Root: "/", Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}))
}
