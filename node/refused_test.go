package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/crc32c"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// compiler reads the module that it checks, like an executor that keeps compiled modules.
type compiler struct{ read error }

func (*compiler) Traits() runtime.Traits { return runtime.Traits{ABIs: []string{job.ABIWASI}} }

func (c *compiler) Check(ctx context.Context, t job.Task, _ job.Limits, env runtime.Env) error {
	_, c.read = env.Blocks.Get(ctx, t.Mod)
	return nil
}

func (*compiler) Run(context.Context, job.Task, job.Limits, runtime.Env) (runtime.Result, error) {
	panic("not asked to")
}

// TestRefusedReadsWhatRunsRead checks a module in an attached file that a program has mapped and changed, with
// the same times and the same CRC. Compiled modules are kept for runs whose receipts are signed, so the changed
// module must not be read.
func TestRefusedReadsWhatRunsRead(t *testing.T) {
	module := make([]byte, 10_000)
	dir := t.TempDir()
	path := filepath.Join(dir, "module")
	if err := os.WriteFile(path, module, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := syscall.Mmap(int(f.Fd()), 0, len(module), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(m) }()
	for i := 0; i < len(m); i += 4096 { // changes the times before they are recorded
		m[i] ^= 1
		m[i] ^= 1
	}
	s := openStore(t)
	if _, err := s.Attach(t.Context(), store.AttachDir, dir, true); err != nil {
		t.Fatal(err)
	}
	before := crc32c.Checksum(m)
	m[5000] ^= 1
	for i := range 32 { // the bits of the polynomial
		if 0x1EDC6F41>>(31-i)&1 == 1 {
			m[5000+(i+1)/8] ^= 1 << ((i + 1) % 8)
		}
	}
	if crc32c.Checksum(m) != before {
		t.Fatal("the checksum has changed")
	}

	x := &compiler{}
	session := s.Begin()
	defer session.End()
	task := job.Task{ABI: job.ABIWASI, Mod: dag.NewBlock(cid.Raw, module).CID()}
	e := &placement{
		w: &network{node: &Node{store: s, executors: runtime.Executors{x}}},
		x: &running{request: api.Request{Task: task}},
		e: &evaluation{session: session},
	}
	if err := e.CheckModule(t.Context()); err != nil {
		t.Error(err)
	}
	var bad *dag.DamagedError
	if !errors.As(x.read, &bad) || bad.Where != path {
		t.Errorf("reading the module: got %v, want a DamagedError in %s", x.read, path)
	}
}
