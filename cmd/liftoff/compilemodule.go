//go:build !windows

package main

import (
	"fmt"
	"os"
)

// compileCommand is the hidden command that a run starts to compile a stranger's module:
// wasm.CompileChild, in a process whose memory and time are bounded.
const compileCommand = "compile-module"

// compiler is the command line of that process.
func compiler() ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find liftoff's own program: %w", err)
	}
	return []string{self, compileCommand}, nil
}
