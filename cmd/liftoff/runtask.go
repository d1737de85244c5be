//go:build !windows

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// taskBuilder makes a task from references: it adds local files and resolves CIDs.
type taskBuilder struct {
	p       *process
	session *node.Session
	blocks  dag.Blocks // local files are added to them
	reading dag.Blocks // the same, and the blocks of peers
	local   []cid.Cid  // roots that were added
	trusted bool       // the module is a local file
}

func (p *process) taskBuilder(s *node.Session) *taskBuilder {
	return &taskBuilder{p: p, session: s, blocks: s.Blocks, reading: s.Fetching()}
}

// dryTaskBuilder makes the same task and adds nothing to the repo.
func (p *process) dryTaskBuilder(s *node.Session) *taskBuilder {
	dry := newDryBlocks(s.Fetching())
	return &taskBuilder{p: p, session: s, blocks: dry, reading: dry}
}

func (b *taskBuilder) build(ctx context.Context, spec runSpec) (job.Task, error) {
	inputs, err := spec.inputSpecs()
	if err != nil {
		return job.Task{}, err
	}
	t := job.Task{Args: spec.Args, Env: spec.Env, Det: job.Det2, Out: job.OutProfile}
	if spec.Nondet {
		t.Det, t.Nonce = job.DetNone, newNonce()
	}
	if abi, ref, ok := foreign(spec.Module); ok {
		err = b.foreignModule(ctx, abi, ref, &t)
	} else {
		err = b.module(ctx, spec.Module, &t)
	}
	if err != nil {
		return job.Task{}, err
	}
	for _, in := range inputs {
		c, err := b.content(ctx, in.ref)
		if err != nil {
			return job.Task{}, err
		}
		t.In = append(t.In, job.Input{Name: in.name, CID: c})
	}
	if spec.Stdin != "" {
		if t.Stdin, err = b.stdin(ctx, spec.Stdin); err != nil {
			return job.Task{}, err
		}
	}
	if err := t.Validate(); err != nil {
		return job.Task{}, usagef("%s", err)
	}
	return t, nil
}

// newNonce returns the random bytes that make a nondet task unique.
func newNonce() []byte {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	return nonce
}

// maxModule bounds the size of a module, in bytes.
const maxModule = 32 << 20

// module finds the module and, by its exports, the ABI and function of the task. It is
// checked before anything else is added.
func (b *taskBuilder) module(ctx context.Context, ref string, t *job.Task) error {
	mod, err := b.content(ctx, ref)
	if err != nil {
		return err
	}
	b.trusted = len(b.local) > 0 && !isCAR(ref) // the module is added first
	code, err := readModule(ctx, b.reading, ref, mod)
	if err != nil {
		return err
	}
	if t.ABI, t.Fn, err = wasm.Inspect(code); err != nil {
		return fmt.Errorf("%s: %w", quote(ref), err)
	}
	t.Mod = mod
	return nil
}

// readModule reads the module mod, named ref on the command line.
func readModule(ctx context.Context, blocks dag.Blocks, ref string, mod cid.Cid) ([]byte, error) {
	f, err := dag.OpenFile(ctx, blocks, mod)
	var notFile *dag.NotFileError
	if errors.As(err, &notFile) {
		return nil, runtime.Refusef("%s is %s, want a module", quote(ref), notFile.Is)
	}
	var missing *dag.NotFoundError
	if errors.As(err, &missing) && missing.CID == mod {
		return nil, notFound(err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > maxModule {
		return nil, tooLarge(ref, f.Size())
	}
	code, err := io.ReadAll(f.Reader(ctx))
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", quote(ref), err)
	}
	return code, nil
}

func tooLarge(ref string, n int64) error {
	return runtime.Refusef("%s is too large for a module: got %s, want at most %s", quote(ref), size(n), size(maxModule))
}

func (b *taskBuilder) stdin(ctx context.Context, ref string) (cid.Cid, error) {
	if ref == "-" {
		in := b.p.input(ctx)
		defer in.Close()
		entry, err := dag.AddFile(ctx, b.blocks, in, dag.UnixFSv1)
		if err != nil {
			return cid.Undef, fmt.Errorf("read stdin: %w", err)
		}
		return b.keep(entry.CID), nil
	}
	c, err := b.content(ctx, ref)
	if err != nil {
		return cid.Undef, err
	}
	kind, err := dag.Kind(ctx, b.reading, c)
	var missing *dag.NotFoundError
	if errors.As(err, &missing) {
		return c, nil // the run fetches it, or reports that it is missing
	}
	if err != nil {
		return cid.Undef, err
	}
	if kind != abi.KindFile && kind != abi.KindRaw {
		return cid.Undef, usagef("--stdin %s: not a file", quote(ref))
	}
	return c, nil
}

func (b *taskBuilder) keep(c cid.Cid) cid.Cid {
	c = job.V1(c)
	b.local = append(b.local, c)
	return c
}

// content resolves ref: a local path if it exists, else a CID. The block may be missing.
func (b *taskBuilder) content(ctx context.Context, ref string) (cid.Cid, error) {
	info, err := os.Stat(ref)
	switch {
	case err == nil:
		return b.fromDisk(ctx, ref, info)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) && !isNotDir(err):
		return cid.Undef, pathError(ref, err)
	}
	if _, err := dag.ParsePath(ref); err != nil {
		return cid.Undef, hinted(notFound(fmt.Errorf("%s is neither a CID nor an existing path", quote(ref))), "ls -l %s", quote(filepath.Dir(ref)))
	}
	// Peers may have the block: the run fetches it, or reports that it is missing.
	at, err := b.p.resolveIn(ctx, b.reading, ref)
	if err == nil {
		err = isBlock(at, ref)
	}
	return job.V1(at.CID), err
}

// fromDisk adds a local path, or imports it if it is a CAR file.
func (b *taskBuilder) fromDisk(ctx context.Context, path string, info fs.FileInfo) (cid.Cid, error) {
	if isCAR(path) && info.Mode().IsRegular() {
		got, err := b.p.importCAR(ctx, b.blocks, path, false)
		if err != nil {
			return cid.Undef, err
		}
		if len(got.Roots) != 1 {
			return cid.Undef, usagef("%s: got %d roots, want 1 for an input", quote(path), len(got.Roots))
		}
		return b.keep(got.Roots[0]), nil
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return cid.Undef, pathError(path, err)
	}
	bar := b.p.progress("add")
	defer bar.Close()
	a := adder{p: b.p, blocks: b.blocks, options: dag.TreeOptions{Profile: dag.UnixFSv1}}
	entry, err := a.one(ctx, real, bar)
	if err != nil {
		return cid.Undef, err
	}
	return b.keep(entry.CID), nil
}
