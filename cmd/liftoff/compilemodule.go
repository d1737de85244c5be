//go:build !windows

package main

import (
	"fmt"
	"os"
)

// compileCommand is the hidden command that compiles the module of another peer: it runs
// wasm.CompileChild in a process with bounded memory and time.
const compileCommand = "compile-module"

// compiler returns the command line of that process.
func compiler() ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the path of the liftoff program: %w", err)
	}
	return []string{self, compileCommand}, nil
}
