package wasm

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// outputs is what a guest has attached: one object, or a tree of names with objects at its
// leaves. It becomes the Outcome's root only if the guest succeeds.
type outputs struct {
	sole *object
	tree tree
}

// tree is a directory of the output. It maps the key of each name to its branch: names with the
// same key cannot be in one directory.
type tree map[uint64]branch

// branch is an entry of a tree: an object or, if that is nil, a directory.
type branch struct {
	name   string
	object *object
	tree   tree
}

func output(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	if r.task.ABI != job.ABILiftoff {
		return 0, abi.STATE
	}
	o := r.handles.live[uint32(a[0])]
	if o == nil {
		return 0, abi.BADF
	}
	path, errno := guestPath(mem, a[1], a[2])
	if errno != 0 {
		return 0, errno
	}
	names, ok := outputPath(path)
	if !ok || !r.outputs.free(names) {
		return 0, abi.INVAL
	}
	r.fuel.Spend(uint64(len(names)) * abi.FuelEntry)
	if o.writer != nil {
		if errno := r.finish(o); errno != 0 {
			return 0, errno
		}
	}
	kept := *o // a copy: the handle may be closed
	if errno := r.describe(&kept, names); errno != 0 {
		return 0, errno
	}
	for range names { // the host's memory for it, at most a directory per name
		if err := r.made.charge(0); err != nil {
			end(err)
		}
	}
	r.outputs.attach(names, &kept)
	return 0, 0
}

// outputPath splits a path into its names; "" has none.
func outputPath(path string) ([]string, bool) {
	if path == "" {
		return nil, true
	}
	names := strings.Split(path, "/")
	if len(names) > abi.MaxSegments {
		return nil, false
	}
	for _, n := range names {
		bad := n == "" || n == "." || n == ".." || len(n) > abi.MaxName ||
			strings.IndexByte(n, 0) >= 0 || !utf8.ValidString(n)
		if bad {
			return nil, false
		}
	}
	return names, true
}

// free reports whether an object can be attached at names: the place is empty, no parent is an
// object, and no other name has the same key as one of them.
func (os *outputs) free(names []string) bool {
	if os.sole != nil || len(names) == 0 && len(os.tree) > 0 {
		return false
	}
	t := os.tree
	for i, n := range names {
		b, ok := t[outProfile.NameKey(n)]
		if !ok {
			return true
		}
		if b.name != n || b.object != nil || i == len(names)-1 {
			return false
		}
		t = b.tree
	}
	return true
}

// describe fills in the directory entry of o at names, where o is not a file that this run
// wrote: it reads o's block. A malformed block is an errno here; at the end of the run it could
// not be reported any more.
func (r *run) describe(o *object, names []string) abi.Errno {
	if len(names) == 0 || o.entry.CID.Defined() {
		return 0
	}
	r.fuel.Spend(abi.FuelBlock)
	e, err := dag.EntryOf(r.ctx, r.made, o.cid)
	if err != nil {
		return errnoOf(err)
	}
	o.entry = e
	return 0
}

func (os *outputs) attach(names []string, o *object) {
	if len(names) == 0 {
		os.sole = o
		return
	}
	if os.tree == nil {
		os.tree = tree{}
	}
	t := os.tree
	for _, n := range names[:len(names)-1] {
		k := outProfile.NameKey(n)
		if t[k].tree == nil {
			t[k] = branch{name: n, tree: tree{}}
		}
		t = t[k].tree
	}
	last := names[len(names)-1]
	t[outProfile.NameKey(last)] = branch{name: last, object: o}
}

// root stores the directories of the output and returns its root: the sole object, or a
// directory, which is empty if nothing was attached.
func (os *outputs) root(ctx context.Context, bs dag.Blocks) (dag.Entry, error) {
	if os.sole != nil {
		return dag.Entry{CID: os.sole.cid}, nil
	}
	return os.tree.entry(ctx, bs)
}

// entry stores the directory. It follows the order of the names, so that a limit ends every run
// at the same block.
func (t tree) entry(ctx context.Context, bs dag.Blocks) (dag.Entry, error) {
	branches := slices.SortedFunc(maps.Values(t), func(a, b branch) int { return strings.Compare(a.name, b.name) })
	d := dag.NewDirWriter(bs, outProfile)
	for _, b := range branches {
		e, err := b.entry(ctx, bs)
		if err != nil {
			return dag.Entry{}, err
		}
		if err := d.Add(b.name, e); err != nil {
			return dag.Entry{}, err
		}
	}
	return d.Finish(ctx)
}

func (b branch) entry(ctx context.Context, bs dag.Blocks) (dag.Entry, error) {
	if b.object != nil {
		return b.object.entry, nil
	}
	return b.tree.entry(ctx, bs)
}
