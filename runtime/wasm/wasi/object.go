package wasi

import (
	"container/list"
	"context"
	"errors"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// maxObjects is how many readers of input objects are kept. A descriptor holds none,
// so that a guest with thousands of open files takes no more of the host's memory;
// one that reads more than so many files by turns reads their blocks again.
const maxObjects = 128

// object is an input's block, read as what it is.
type object struct {
	cid  cid.Cid
	kind int       // abi.KindRaw, …
	file *dag.File // of files
	dir  *dag.Dir  // of directories
	link string    // of symlinks
	size uint64    // bytes of a file, or of a block that is nothing else
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

// objectCache keeps the objects that were used last.
type objectCache struct {
	byCID map[cid.Cid]*list.Element
	used  *list.List // of *object, the latest first
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

// maxFound is how many entries of directories are remembered: some megabytes.
const maxFound = 16 << 10

// found is what a directory has under a name.
type found struct {
	cid     cid.Cid
	claimed uint64 // size
}

type foundKey struct {
	dir  cid.Cid
	name string
}

// foundCache remembers entries of sharded directories, so that a program which lists
// one and then asks for every file walks the shards once. When it is full it forgets
// all. (A plain directory is quick by itself, and may have a name twice.)
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
