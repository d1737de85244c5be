package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// The names in a run's folder.
const (
	inName     = "in"
	outName    = "out"
	tmpName    = "tmp"
	moduleName = "module"
	stdinName  = "stdin"
)

// wireTask returns t as it is sent to a program. It reads the module's block if that block
// cannot be a file.
func wireTask(ctx context.Context, bs dag.Blocks, t job.Task) (wire.Task, error) {
	w := wire.Task{
		ABI: t.ABI, Module: wire.Module{CID: cidText(t.Mod)}, Stdin: t.Stdin.Defined(),
		Inputs: make([]wire.Input, len(t.In)), Args: t.Args, Env: t.Env,
	}
	if c := t.Mod.Type(); c != cid.Raw && c != cid.DagProtobuf {
		b, err := dag.Load(ctx, bs, t.Mod)
		if err != nil {
			return wire.Task{}, fmt.Errorf("read module: %w", err)
		}
		w.Module.Block = b.Data()
	}
	for i, in := range t.In {
		w.Inputs[i] = wire.Input{Name: in.Name, CID: cidText(in.CID)}
		if in.Name == "" {
			w.Inputs[i].Name = strconv.Itoa(i)
		}
	}
	return w, nil
}

// folder writes a run's folder. Every name is opened below an os.Root, and existing files are
// not written to, so neither a name nor a symlink can leave the folder.
type folder struct {
	blocks dag.Blocks
	bytes  uint64 // bytes that may still be written
	files  int    // files that may still be written
}

// fill writes what a run reads: its inputs and stdin, and its module if it needs one. It
// creates empty folders for the output.
func (f *folder) fill(ctx context.Context, dir string, t job.Task, module bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range []string{inName, outName, tmpName} {
		if err := root.Mkdir(name, 0o755); err != nil {
			return err
		}
	}
	if module {
		if err := f.entry(ctx, root, moduleName, t.Mod, 0); err != nil {
			return fmt.Errorf("write module for the plugin: %w", err)
		}
	}
	if t.Stdin.Defined() {
		kind, err := dag.Kind(ctx, f.blocks, t.Stdin)
		if err != nil {
			return fmt.Errorf("write stdin for the plugin: %w", err)
		}
		if kind != abi.KindFile && kind != abi.KindRaw {
			return runtime.Refusef("stdin %s: not a file", t.Stdin)
		}
		if err := f.entry(ctx, root, stdinName, t.Stdin, 0); err != nil {
			return fmt.Errorf("write stdin for the plugin: %w", err)
		}
	}
	in, err := root.OpenRoot(inName)
	if err != nil {
		return err
	}
	defer in.Close()
	for i, input := range t.In {
		name := input.Name
		if name == "" {
			name = strconv.Itoa(i)
		}
		if err := f.entry(ctx, in, name, input.CID, 0); err != nil {
			return fmt.Errorf("write input %s for the plugin: %w", name, err)
		}
	}
	return in.Chmod(".", 0o555)
}

// charge deducts a file of n bytes from the limits.
func (f *folder) charge(n uint64) error {
	if f.files--; f.files < 0 {
		return runtime.Refusef("inputs: too many files for this peer's limit on the files of a run")
	}
	if n > f.bytes {
		return runtime.Refusef("inputs: too many bytes for this peer's limit on the files of a run")
	}
	f.bytes -= n
	return nil
}

// entry writes the DAG c as name. depth counts the folders above it in its input.
func (f *folder) entry(ctx context.Context, root *os.Root, name string, c cid.Cid, depth int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	kind, err := dag.Kind(ctx, f.blocks, c)
	if err != nil {
		return malformed(err)
	}
	switch kind {
	case abi.KindRaw, abi.KindFile:
		return f.file(ctx, root, name, c)
	case abi.KindDirectory:
		return f.directory(ctx, root, name, c, depth)
	case abi.KindSymlink:
		return f.symlink(ctx, root, name, c, depth)
	}
	b, err := dag.Load(ctx, f.blocks, c) // a file of the block's bytes, as a WebAssembly guest sees it
	if err != nil {
		return err
	}
	if err := f.charge(uint64(len(b.Data()))); err != nil {
		return err
	}
	return f.create(root, name, func(w io.Writer) error {
		_, err := w.Write(b.Data())
		return err
	})
}

func (f *folder) file(ctx context.Context, root *os.Root, name string, c cid.Cid) error {
	content, err := dag.OpenFile(ctx, f.blocks, c)
	if err != nil {
		return malformed(err)
	}
	defer content.Close()
	if err := f.charge(uint64(content.Size())); err != nil {
		return err
	}
	return f.create(root, name, func(w io.Writer) error {
		_, err := content.WriteTo(ctx, w)
		return malformed(err)
	})
}

// create writes a new file, which is not written to again.
func (f *folder) create(root *os.Root, name string, write func(io.Writer) error) (err error) {
	w, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := w.Close(); err == nil {
			err = cerr
		}
	}()
	return write(w)
}

func (f *folder) directory(ctx context.Context, root *os.Root, name string, c cid.Cid, depth int) error {
	if depth >= abi.MaxSegments {
		return runtime.Refusef("task content: folders nested more than %d deep", abi.MaxSegments)
	}
	d, err := dag.OpenDir(ctx, f.blocks, c)
	if err != nil {
		return malformed(err)
	}
	if err := f.charge(0); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o755); err != nil {
		return err
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	seen := map[string]bool{}
	err = d.Each(ctx, func(e dag.DirEntry) error {
		switch {
		case e.Name == "" || e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") || len(e.Name) > 255:
			return runtime.Refusef("task content: directory %s: invalid file name %s", c, quote(e.Name))
		case seen[e.Name]:
			return runtime.Refusef("task content: directory %s: duplicate name %s", c, quote(e.Name))
		}
		seen[e.Name] = true
		return f.entry(ctx, sub, e.Name, e.CID, depth+1)
	})
	if err != nil {
		return malformed(err)
	}
	return sub.Chmod(".", 0o555)
}

// symlink writes a symlink whose target is in its input. Programs follow links, and most of
// them see the whole file system: a link to any other target is refused.
func (f *folder) symlink(ctx context.Context, root *os.Root, name string, c cid.Cid, depth int) error {
	target, err := dag.ReadLink(ctx, f.blocks, c)
	if err != nil {
		return malformed(err)
	}
	if !staysWithin(target, max(0, depth-1)) {
		return runtime.Refusef("task content: symlink %s: target %s is outside of its input", quote(name), quote(target))
	}
	if err := f.charge(0); err != nil {
		return err
	}
	return root.Symlink(target, name)
}

// staysWithin reports whether a symlink, depth folders below the root of its input, can only
// resolve to something in the input, whatever other files there are. Its ".." elements may only
// be at the beginning: there they pass through real folders, and what follows them leads down,
// or through links for which the same holds.
func staysWithin(target string, depth int) bool {
	if target == "" || path.IsAbs(target) || strings.Contains(target, "\x00") {
		return false
	}
	parts := strings.Split(target, "/")
	up := 0
	for up < len(parts) && (parts[up] == ".." || parts[up] == "." || parts[up] == "") {
		if parts[up] == ".." {
			depth--
		}
		up++
	}
	for _, p := range parts[up:] {
		if p == ".." {
			return false
		}
	}
	return depth >= 0
}

// malformed turns an error about invalid UnixFS content into a refusal; other errors stay.
func malformed(err error) error {
	var (
		format      *dag.FormatError
		notFile     *dag.NotFileError
		notDir      *dag.NotDirError
		unsupported *dag.UnsupportedError
	)
	if errors.As(err, &format) || errors.As(err, &notFile) || errors.As(err, &notDir) || errors.As(err, &unsupported) {
		return runtime.Refusef("%v", err)
	}
	return err
}
