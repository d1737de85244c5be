//go:build wasip1

// Command dagwalk measures the DAGs below its inputs block by block: the number of blocks,
// bytes and links of each codec, and the depth. A block that is linked twice is counted
// and walked once.
//
// It is a guest of the ABI liftoff_v1. It prints a table to stdout, and outputs the
// same as JSON.
package main

import (
	"encoding/json"
	"fmt"

	liftoff "github.com/ipfs-liftoff/liftoff/abi/go"
)

//go:wasmexport liftoff_run
func liftoffRun() int32 { return liftoff.Status(run()) }

func main() {} // a guest of the ABI starts at liftoff_run

func run() error {
	g := newGraph()
	for name, h := range liftoff.Inputs() {
		if err := g.walk(h); err != nil {
			return fmt.Errorf("input %q: %w", name, err)
		}
	}
	s := g.summary()
	fmt.Printf("%-10s %10s %15s %10s %7s\n", "codec", "blocks", "bytes", "links", "depth")
	for _, c := range append(s.Codecs, s.Total) {
		fmt.Printf("%-10s %10d %15d %10d %7d\n", c.Codec, c.Blocks, c.Bytes, c.Links, c.Depth)
	}
	return write("summary.json", s)
}

func write(name string, v any) error {
	out, err := liftoff.Create()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	return out.Output(name)
}
