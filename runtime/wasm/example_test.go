package wasm_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// Run a guest that copies its input. Its blocks are in memory.
func Example() {
	ctx := context.Background()
	e, err := wasm.New(ctx, wasm.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	scratch, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(scratch)

	var blocks dag.MemBlocks
	add := func(s string) dag.Entry {
		e, err := dag.AddFile(ctx, &blocks, strings.NewReader(s), dag.UnixFSv1)
		if err != nil {
			log.Fatal(err)
		}
		return e
	}
	module := string(runtimetest.Module("copy"))
	abi, fn, err := wasm.Inspect([]byte(module))
	if err != nil {
		log.Fatal(err)
	}
	res, err := e.Run(ctx, job.Task{
		ABI: abi, Fn: fn, Mod: add(module).CID, In: []job.Input{{Name: "text", CID: add("to be copied\n").CID}},
		Det: job.Det2, Out: job.OutProfile,
	}, job.Limits{}, runtime.Env{Blocks: &blocks, Scratch: scratch})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Outcome.State, res.Outcome.Root)
	// Output: ok bafybeieqtuhmlhbyhjthd3v7dmcgh44fayz44o2or2bccynkcacbzybdnm
}
