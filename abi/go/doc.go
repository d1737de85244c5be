// Package liftoff is the Go SDK for guests of the ABI liftoff_v1: a module that gets
// content as handles, reads the blocks that it needs and outputs new ones.
//
// A program that reads and writes plain files does not need it: Go's own GOOS=wasip1
// reads /in and writes /out. Import this package for what files cannot express:
// blocks, links, CIDs, and output that refers to input without copying it.
//
// A guest exports liftoff_run; main is never called:
//
//	package main
//
//	import (
//		"io"
//
//		liftoff "github.com/ipfs-liftoff/liftoff/abi/go"
//	)
//
//	//go:wasmexport liftoff_run
//	func liftoffRun() int32 { return liftoff.Status(run()) }
//
//	func run() error {
//		in, err := liftoff.Input(0).Reader()
//		if err != nil {
//			return err
//		}
//		out, err := liftoff.Create()
//		if err != nil {
//			return err
//		}
//		if _, err := io.Copy(out, in); err != nil {
//			return err
//		}
//		return out.Output("")
//	}
//
//	func main() {}
//
// Stock Go builds it:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o guest.wasm .
//
// A [Handle] is the only authority: a guest can reach its inputs, what they link to
// and what it created, and nothing else. The SDK keeps no state and starts no
// goroutine. On platforms other than wasip1 it compiles, but every call panics:
// no host answers it.
package liftoff
