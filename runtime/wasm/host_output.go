package wasm

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// outputs is what a guest attached: one object, or a tree of names with objects at its
// leaves. It becomes the Outcome's root only when the guest succeeds.
type outputs struct {
	sole *object
	tree tree
}

// tree is a directory of the output: each name has an object or a tree.
type tree map[string]branch

type branch struct {
	object *object
	tree   tree // when object is nil
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
	for range names { // what the host remembers, a directory for each name at most
		if err := r.made.charge(0); err != nil {
			end(err)
		}
	}
	kept := *o // the handle may be closed
	r.outputs.attach(names, &kept)
	return 0, 0
}

// outputPath cuts a path into its names; "" has none.
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

// free reports that an object can be attached at names: nothing is there yet, and no
// object where a directory should be.
func (os *outputs) free(names []string) bool {
	if os.sole != nil || len(names) == 0 && len(os.tree) > 0 {
		return false
	}
	t := os.tree
	for i, n := range names {
		b, ok := t[n]
		if !ok {
			return true
		}
		if b.object != nil || i == len(names)-1 {
			return false
		}
		t = b.tree
	}
	return true
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
		if t[n].tree == nil {
			t[n] = branch{tree: tree{}}
		}
		t = t[n].tree
	}
	t[names[len(names)-1]] = branch{object: o}
}

// root makes the directories of the output and returns its root: the sole object, or
// a directory, which is empty when nothing was attached.
func (os *outputs) root(ctx context.Context, bs dag.Blocks) (dag.Entry, error) {
	if os.sole != nil {
		return dag.Entry{CID: os.sole.cid}, nil
	}
	return os.tree.entry(ctx, bs)
}

func (t tree) entry(ctx context.Context, bs dag.Blocks) (dag.Entry, error) {
	d := dag.NewDirWriter(bs, outProfile)
	for name, b := range t { // the writer sorts
		var e dag.Entry
		var err error
		if b.object == nil {
			e, err = b.tree.entry(ctx, bs)
		} else {
			e, err = b.object.asEntry(ctx, bs)
		}
		if err != nil {
			return dag.Entry{}, err
		}
		if err := d.Add(name, e); err != nil {
			return dag.Entry{}, err
		}
	}
	return d.Finish(ctx)
}

// asEntry returns what a directory says of o.
func (o *object) asEntry(ctx context.Context, bs dag.Blocks) (dag.Entry, error) {
	if o.entry.CID.Defined() {
		return o.entry, nil
	}
	return dag.EntryOf(ctx, bs, o.cid)
}
