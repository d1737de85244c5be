// Package wasi is WASI preview 1 for guests whose results have to be the same everywhere: an
// unmodified command reads its Task's inputs under /in, lazily and by range, writes its output
// to /out, and has /tmp as scratch space.
//
// One rule: what a guest can see is a function of its Task. Names live in an in-memory tree and
// never reach the host's disk, which stores only contents; clock and randomness are computed;
// descriptors, inodes and the order of listings are the same on every host. docs/abi.md, "WASI
// preview 1", is the specification.
//
// A machine fault is never an errno. A host function panics with the error, which wazero
// returns to the caller of the guest, wrapped so that errors.As finds it: a *dag.NotFoundError
// for a missing block, the cause of the context, a *runtime.QuotaError for a limit, the error
// of a writer or of the scratch folder.
//
// Every call is paid for before its work (package fuel). The price depends on its arguments and
// on the inputs, never on caches.
//
// wazero's own functions are not used: they cost no fuel, and they resolve paths as text (".."
// before symlinks, a renamed directory is lost to its descriptors), do not truncate long
// symlink targets, refuse cookies that they have passed, accept only two clock ids and let a
// guest use a descriptor number so high that its table fills the host's memory.
package wasi

import (
	"context"
	crand "crypto/rand"
	"errors"
	"io"
	"math"
	"math/rand/v2"

	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// Config is the environment of one run.
type Config struct {
	Inputs []job.Input // shown under /in
	Stdin  cid.Cid     // a file or a raw block; cid.Undef: empty
	Blocks dag.Blocks  // inputs are read from it
	// Scratch is an existing, private folder for the contents of /out and /tmp. The caller
	// removes it, after Close.
	Scratch        string
	Stdout, Stderr io.Writer // nil discards; must not keep the slices
	Args           []string  // the program's name first
	Env            []string  // as "K=V"
	Seed           [32]byte  // seed of all randomness
	// TmpLimit and OutLimit limit /tmp and /out: logical bytes, holes included, and 4,096 for
	// every file, directory and symlink in them.
	TmpLimit, OutLimit uint64
	Profile            dag.Profile // the DAG profile of /out
	NoOut              bool        // no /out: the guest creates its output in another way
	// Fuel is the run's account: the cost of calls, and the clock's time. nil: nothing is
	// limited, and time passes with each call.
	Fuel *fuel.Account
	// Real gives the guest this machine's clock and randomness, and makes sleeping take time:
	// it is for Tasks of the profile nondet.
	Real bool
}

// System is the state behind one guest's calls. It belongs to the goroutine that runs the
// guest.
type System struct {
	cfg     Config
	fuel    *fuel.Account
	clock   clock
	random  io.Reader // never fails
	fds     fdTable
	root    *rootDir
	inputs  *inputs
	out     *memDir // nil with NoOut
	tmp     *memDir
	tmpUse  *quota
	scratch scratch
	inodes  uint64 // the last one used in /out and /tmp
	tree    int    // bytes of the host's memory for their names

	mod api.Module // the module of mem
	mem memory
}

type contextKey struct{}

// New returns the System of one run. It reads only the root of Stdin; the error is a
// *runtime.RefusedError if that is not a file.
func New(ctx context.Context, cfg Config) (*System, error) {
	s := &System{cfg: cfg, fuel: cfg.Fuel, random: rand.NewChaCha8(cfg.Seed), scratch: scratch{dir: cfg.Scratch}}
	if s.fuel == nil {
		s.fuel = fuel.New(math.MaxInt64, math.MaxInt64)
	}
	s.clock = &madeClock{fuel: s.fuel}
	if cfg.Real {
		s.clock, s.random = newRealClock(), crand.Reader
	}
	s.root = &rootDir{}
	s.inputs = newInputs(cfg.Blocks, cfg.Inputs, s.root, s.fuel)
	stdin, err := s.inputs.stdin(ctx, cfg.Stdin)
	if err != nil {
		return nil, err
	}
	s.mount("in", s.inputs)
	if !cfg.NoOut {
		s.out = newMemDir(&quota{limit: cfg.OutLimit, code: job.QuotaOut, dev: devOut, tree: &s.tree}, &s.cfg.Profile, s.newInode(), s.root)
		s.mount("out", s.out)
	}
	s.tmpUse = &quota{limit: cfg.TmpLimit, code: job.QuotaTmp, dev: devTmp, tree: &s.tree}
	s.tmp = newMemDir(s.tmpUse, &s.cfg.Profile, s.newInode(), s.root)
	s.mount("tmp", s.tmp)
	for _, d := range []*descriptor{
		{node: stdin, read: true},
		{node: &stream{2, cfg.Stdout}, write: true},
		{node: &stream{3, cfg.Stderr}, write: true},
		{node: s.root, read: true, preopen: true},
	} {
		s.fds.add(d)
	}
	return s, nil
}

func (s *System) mount(name string, n node) {
	s.root.names = append(s.root.names, name)
	s.root.nodes = append(s.root.nodes, n)
}

func (s *System) newInode() uint64 {
	s.inodes++
	return s.inodes
}

// Context returns the context with which the guest is instantiated and called.
func (s *System) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, s)
}

// TmpPeak returns the peak use of /tmp, counted like TmpLimit.
func (s *System) TmpPeak() uint64 { return s.tmpUse.peak }

// OutSize returns the use of /out, counted like OutLimit.
func (s *System) OutSize() uint64 {
	if s.out == nil {
		return 0
	}
	return s.out.q.used
}

// Close releases the run's resources, including /out.
func (s *System) Close() error {
	return errors.Join(s.inputs.close(), s.scratch.close())
}
