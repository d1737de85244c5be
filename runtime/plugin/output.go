package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// outProfile is the profile that Task.Out names.
var outProfile = dag.UnixFSv1

// output collects the blocks that a run creates, up to a limit.
type output struct {
	dag.Blocks
	mu    sync.Mutex
	limit uint64
	used  uint64
	sizes map[string]uint64 // by multihash
}

// Put implements dag.Blocks.
func (o *output) Put(ctx context.Context, bs ...dag.Block) error {
	o.mu.Lock()
	for _, b := range bs {
		k := string(b.CID().Hash())
		if _, ok := o.sizes[k]; ok {
			continue
		}
		n := uint64(len(b.Data()))
		if charge := max(n, minCharge); charge > o.limit-o.used {
			o.mu.Unlock()
			return &runtime.QuotaError{Code: job.QuotaOut}
		} else {
			o.used += charge
		}
		o.sizes[k] = n
	}
	o.mu.Unlock()
	return o.Blocks.Put(ctx, bs...)
}

// size returns the bytes of the distinct blocks.
func (o *output) size() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	sum := uint64(0)
	for _, n := range o.sizes {
		sum += n
	}
	return sum
}

// take stores what a run has left below dir as a DAG, and returns its root and the bytes of its
// blocks. Names are opened below an os.Root, and symlinks are stored as symlinks, so that
// nothing else of this machine can get into the DAG.
func take(ctx context.Context, bs dag.Blocks, dir string, limit uint64) (dag.Entry, uint64, error) {
	if err := readable(dir); err != nil {
		return dag.Entry{}, 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return dag.Entry{}, 0, err
	}
	defer root.Close()
	o := &output{Blocks: bs, limit: limit, sizes: map[string]uint64{}}
	e, err := dag.AddTree(ctx, o, root.FS(), ".", dag.TreeOptions{Profile: outProfile, Hidden: true})
	var quota *runtime.QuotaError
	switch {
	case ctx.Err() != nil:
		return dag.Entry{}, 0, context.Cause(ctx)
	case errors.As(err, &quota):
		return dag.Entry{}, 0, quota
	case err != nil:
		return dag.Entry{}, 0, fmt.Errorf("store the guest's output: %w", err)
	}
	return e, o.size(), nil
}

// readable makes sure that the guest's output can be stored: files, folders and symlinks,
// readable to this process even if a guest of the same user has made them unreadable.
func readable(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch typ := d.Type(); {
		case typ == fs.ModeSymlink:
			return nil
		case typ != 0 && typ != fs.ModeDir:
			return runtime.Refusef("output: %s is neither a file nor a directory nor a symlink", quote(name))
		case os.Geteuid() == 0:
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := info.Mode().Perm() | 0o400
		if d.IsDir() {
			want |= 0o700
		}
		if want == info.Mode().Perm() {
			return nil
		}
		return root.Chmod(name, want)
	})
}
