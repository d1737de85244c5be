package wasi

import (
	"container/list"
	"context"
	"errors"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// maxObjects is the number of cached readers of input objects. A descriptor holds none, so that
// a guest with thousands of open files uses no more of the host's memory; a guest that reads
// more files than that in turns reads their blocks again.
const maxObjects = 128

// object is an input's block, opened by its kind.
type object struct {
	cid  cid.Cid
	kind int       // abi.KindRaw, …
	file *dag.File // of files
	dir  *dag.Dir  // of directories
	link string    // of symlinks
	size uint64    // bytes of a file, or of a block of no other kind
}

func (o *object) fileType() fileType {
	switch o.kind {
	case abi.KindDirectory:
		return typeDirectory
	case abi.KindSymlink:
		return typeSymlink
	}
	return typeRegular
}

// open returns the object c, from the cache or from its block.
func (in *inputs) open(ctx context.Context, c cid.Cid) (*object, errno) {
	if o := in.objects.get(c); o != nil {
		return o, eOK
	}
	o, err := in.load(ctx, c)
	return o, machine(err)
}

func (in *inputs) load(ctx context.Context, c cid.Cid) (*object, error) {
	kind, err := dag.Kind(ctx, in.blocks, c)
	if err != nil {
		return nil, err
	}
	o := &object{cid: c, kind: kind}
	switch kind {
	case abi.KindRaw, abi.KindFile:
		if o.file, err = dag.OpenFile(ctx, in.blocks, c); err == nil {
			o.size = uint64(o.file.Size())
		}
	case abi.KindDirectory:
		o.dir, err = dag.OpenDir(ctx, in.blocks, c)
	case abi.KindSymlink:
		o.link, err = dag.ReadLink(ctx, in.blocks, c)
	default:
		var b dag.Block
		b, err = dag.Load(ctx, in.blocks, c)
		o.size = uint64(len(b.Data()))
	}
	if err != nil {
		return nil, err
	}
	return o, in.objects.add(o)
}

// objectCache keeps the most recently used objects.
type objectCache struct {
	byCID map[cid.Cid]*list.Element
	used  *list.List // of *object, most recently used first
}

func (c *objectCache) init() { c.byCID, c.used = map[cid.Cid]*list.Element{}, list.New() }

func (c *objectCache) get(id cid.Cid) *object {
	e := c.byCID[id]
	if e == nil {
		return nil
	}
	c.used.MoveToFront(e)
	return e.Value.(*object)
}

func (c *objectCache) add(o *object) error {
	c.byCID[o.cid] = c.used.PushFront(o)
	if c.used.Len() <= maxObjects {
		return nil
	}
	return c.drop(c.used.Back())
}

func (c *objectCache) drop(e *list.Element) error {
	o := c.used.Remove(e).(*object)
	delete(c.byCID, o.cid)
	if o.file != nil {
		return o.file.Close()
	}
	return nil
}

func (c *objectCache) close() error {
	var errs []error
	for c.used.Len() > 0 {
		errs = append(errs, c.drop(c.used.Back()))
	}
	return errors.Join(errs...)
}

// maxFound is the number of cached directory entries: some megabytes.
const maxFound = 16 << 10

// found is the entry of a directory under a name.
type found struct {
	cid     cid.Cid
	claimed uint64 // size
}

type foundKey struct {
	dir  cid.Cid
	name string
}

// foundCache caches entries of sharded directories, so that a program that lists a directory
// and then stats every file walks the shards once. A full cache is cleared. (A plain directory
// is fast without it, and may have duplicate names.)
type foundCache struct{ m map[foundKey]found }

func (c *foundCache) get(dir cid.Cid, name string) (found, bool) {
	f, ok := c.m[foundKey{dir, name}]
	return f, ok
}

func (c *foundCache) add(dir cid.Cid, name string, f found) {
	if c.m == nil || len(c.m) >= maxFound {
		c.m = make(map[foundKey]found)
	}
	c.m[foundKey{dir, name}] = f
}
