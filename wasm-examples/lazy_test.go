package examples

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// counting records which blocks were read.
type counting struct {
	dag.Blocks
	mu   sync.Mutex
	read map[cid.Cid]bool
}

func (c *counting) Get(ctx context.Context, id cid.Cid) (dag.Block, error) {
	c.mu.Lock()
	c.read[id] = true
	c.mu.Unlock()
	return c.Blocks.Get(ctx, id)
}

// TestTailIsLazy checks that tail-c reads only the root and the last block of a file of 16
// blocks.
func TestTailIsLazy(t *testing.T) {
	var content bytes.Buffer
	for i := 0; content.Len() < 16<<20; i++ {
		fmt.Fprintf(&content, "%015d\n", i)
	}
	tail := content.Bytes()[content.Len()-4096:]

	e, err := wasm.New(t.Context(), wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	module, err := os.ReadFile(filepath.Join("testdata", "tail-c.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	var inputs, store dag.MemBlocks // store holds the inputs too
	in := add(t, &inputs, bytes.NewReader(content.Bytes()))
	if n, _ := inputs.Len(); n != 17 {
		t.Fatalf("input: got %d blocks, want 17", n)
	}
	add(t, &store, bytes.NewReader(content.Bytes()))
	mod := add(t, &store, bytes.NewReader(module))
	blocks := &counting{Blocks: &store, read: map[cid.Cid]bool{}}

	task := task(t, &store, wanted{ABI: job.ABILiftoff}, &run{}, mod)
	task.In = []job.Input{{CID: in}}
	res, err := e.Run(t.Context(), task, job.Limits{}, runtime.Env{Blocks: blocks, Scratch: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if have := text(t, &store, res.Outcome.Root); have != string(tail) {
		t.Errorf("tail: got %q", have)
	}
	touched := 0
	for c := range blocks.read {
		if has, _ := inputs.Has(t.Context(), c); has {
			touched++
		}
	}
	if touched != 2 {
		t.Errorf("read %d blocks of 17, want the root and the last leaf", touched)
	}
}
