// Package wasi is WASI preview 1 for guests whose results have to be the same
// everywhere: an unmodified command reads its Task's inputs under /in, lazily and by
// range, writes /out, which becomes its result, and has /tmp for itself.
//
// One rule: what a guest can see is a function of its Task. Names live in a tree of
// our own and never reach the host's disk, which keeps only contents; clock and
// randomness are computed; descriptors, inodes and the order of listings are the same
// on every host. docs/abi.md, "WASI preview 1", is the specification.
//
// A fault of the machine is never an errno. A host function panics with the error,
// which wazero hands to the caller of the guest, wrapped so that errors.As finds it:
// a *dag.NotFoundError for a block that is not to be had, the cause of the context,
// a *runtime.QuotaError for a limit, the error of a writer or of the scratch folder.
//
// Every call is paid for before its work (package fuel), by its arguments and by what
// the inputs are, never by what is cached.
//
// wazero's own functions are not used: they cost no fuel, and they resolve paths as text (".." before symlinks, a renamed
// directory is lost to its descriptors), cut no long symlink target, refuse cookies
// that they have passed, take any clock id but two for an error and let a guest name
// a descriptor so high that the table for it fills the host's memory.
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

// Config is the world of one run.
type Config struct {
	Inputs []job.Input // shown under /in
	Stdin  cid.Cid     // a file or a raw block; cid.Undef: empty
	Blocks dag.Blocks  // inputs are read from it
	// Scratch is an existing, private folder for the contents of /out and /tmp. The
	// caller removes it, after Close.
	Scratch        string
	Stdout, Stderr io.Writer // nil discards; must not keep what they are given
	Args           []string  // the program's name first
	Env            []string  // as "K=V"
	Seed           [32]byte  // of all randomness
	// TmpLimit and OutLimit bound /tmp and /out: logical bytes, holes included, and
	// 4,096 for every file, directory and symlink in them.
	TmpLimit, OutLimit uint64
	Profile            dag.Profile // how /out becomes a directory
	NoOut              bool        // there is no /out: the result is made another way
	// Fuel is the run's account: what calls cost, and the clock's time. nil: nothing is
	// bounded, and time passes as calls are made.
	Fuel *fuel.Account
	// Real gives the guest this machine's clock and randomness, and makes sleeping take
	// time: it is for Tasks of the profile nondet.
	Real bool
}

// System is what one guest's calls act on. It belongs to the goroutine that runs the
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
	inodes  uint64 // the last one given in /out and /tmp
	tree    int    // bytes of the host's memory for their names

	mod api.Module // whose memory mem is
	mem memory
}

type contextKey struct{}

// New makes the world of one run. It reads nothing but the root of Stdin; the error is
// a *runtime.RefusedError if that is no file.
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

// TmpPeak returns the most that /tmp took at any time, as TmpLimit counts it.
func (s *System) TmpPeak() uint64 { return s.tmpUse.peak }

// OutSize returns what /out takes, as OutLimit counts it.
func (s *System) OutSize() uint64 {
	if s.out == nil {
		return 0
	}
	return s.out.q.used
}

// Close gives up what the run held open; /out is gone then.
func (s *System) Close() error {
	return errors.Join(s.inputs.close(), s.scratch.close())
}
