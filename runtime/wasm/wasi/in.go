package wasi

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// inputs is /in: every input once, in the Task's order, by its name or else by its index.
// Lookups also find each input by its index.
//
// How an input and what is below it appear: a UnixFS file and a raw block are files; a
// directory is a directory; a symlink is a symlink; any other block, of whatever codec, is a
// file of the block's bytes. A malformed UnixFS block answers eIO where it is used. Until it is
// opened, a raw block in a directory has the size that the directory claims, so that a tree can
// be walked without reading its files.
type inputs struct {
	blocks  dag.Blocks
	given   []job.Input
	byName  map[string]int
	objects objectCache
	found   foundCache
	parent  *rootDir
	fuel    *fuel.Account
}

func newInputs(bs dag.Blocks, list []job.Input, parent *rootDir, a *fuel.Account) *inputs {
	in := &inputs{blocks: bs, given: list, byName: map[string]int{}, parent: parent, fuel: a}
	in.objects.init()
	for i, input := range list {
		if input.Name != "" {
			in.byName[input.Name] = i
		}
	}
	return in
}

func (in *inputs) stat() stat {
	return stat{dev: devIn, ino: 1, kind: typeDirectory, nlink: 1}
}

func (in *inputs) up() directory { return in.parent }

func (in *inputs) nameOf(i int) string {
	if n := in.given[i].Name; n != "" {
		return n
	}
	return strconv.Itoa(i)
}

func (in *inputs) lookup(ctx context.Context, name string) (node, errno) {
	i, ok := in.byName[name]
	if !ok {
		n, err := strconv.Atoi(name)
		if err != nil || n < 0 || n >= len(in.given) || strconv.Itoa(n) != name {
			return nil, eNOENT
		}
		i = n
	}
	return in.node(ctx, in.given[i].CID, 0, in, nil, in.nameOf(i))
}

func (in *inputs) next(ctx context.Context, after uint64) (entry, bool, errno) {
	i := after - cookieDotDot
	if i >= uint64(len(in.given)) {
		return entry{}, false, eOK
	}
	name := in.nameOf(int(i))
	kind, e := in.kind(ctx, in.given[i].CID)
	return entry{name, hashInode(in.stat().ino, name), kind, after + 1}, e == eOK, e
}

// kind returns the file type of c in a listing.
func (in *inputs) kind(ctx context.Context, c cid.Cid) (fileType, errno) {
	if c.Type() == cid.DagProtobuf {
		in.fuel.Spend(abi.FuelBlock)
	}
	if o := in.objects.get(c); o != nil {
		return o.fileType(), eOK
	}
	k, err := dag.Kind(ctx, in.blocks, c)
	return (&object{kind: k}).fileType(), machine(err)
}

// node returns the node of c, an entry of parent. claimed is the size that the link to it
// claims, or 0.
func (in *inputs) node(ctx context.Context, c cid.Cid, claimed uint64, parent directory, root *inDir, name string) (node, errno) {
	at := inNode{in: in, cid: c, ino: hashInode(parent.stat().ino, name), parent: parent, root: root}
	if c.Type() == cid.Raw && claimed > 0 {
		return &inFile{inNode: at, size: claimed}, eOK
	}
	o, e := in.open(ctx, c)
	if e != eOK {
		return nil, e
	}
	switch o.kind {
	case abi.KindDirectory:
		d := &inDir{inNode: at}
		if root == nil {
			d.root = d
		} else if d.depth = parent.(*inDir).depth + 1; d.depth > abi.MaxSegments {
			return nil, eNAMETOOLONG
		}
		return d, eOK
	case abi.KindSymlink:
		return &inLink{at, o.link}, eOK
	}
	return &inFile{inNode: at, size: o.size, settled: true}, eOK
}

// stdin returns the node of fd 0. A Task whose stdin is not a file is refused.
func (in *inputs) stdin(ctx context.Context, c cid.Cid) (node, error) {
	if !c.Defined() {
		return noFile{}, nil
	}
	o, err := in.load(ctx, c)
	switch {
	case err != nil && isMalformed(err):
		return nil, runtime.Refusef("read stdin: %v", err)
	case err != nil:
		return nil, fmt.Errorf("open stdin: %w", err)
	case o.file == nil:
		return nil, runtime.Refusef("stdin %s: not a file", c)
	}
	return &inFile{inNode: inNode{in: in, cid: c, ino: hashInode(0, "stdin")}, size: o.size, settled: true}, nil
}

func (in *inputs) close() error { return in.objects.close() }

// machine turns an error of reading a DAG into an errno if the DAG is malformed. Any other
// error ends the run.
func machine(err error) errno {
	switch {
	case err == nil:
		return eOK
	case isMalformed(err):
		return eIO
	}
	panic(err)
}

// isMalformed reports whether err is a fault of the DAG itself, which is the same everywhere.
func isMalformed(err error) bool {
	var (
		format      *dag.FormatError
		tooBig      *dag.TooBigError
		unsupported *dag.UnsupportedError
		notFile     *dag.NotFileError
		notDir      *dag.NotDirError
		notLink     *dag.NotSymlinkError
	)
	return errors.As(err, &format) || errors.As(err, &tooBig) || errors.As(err, &unsupported) ||
		errors.As(err, &notFile) || errors.As(err, &notDir) || errors.As(err, &notLink)
}

// inNode is the common part of the nodes of inputs.
type inNode struct {
	in     *inputs
	cid    cid.Cid
	ino    uint64
	parent directory
	root   *inDir // the input's root directory; nil if the input is not a directory
}

func (n *inNode) statAs(kind fileType, size uint64) stat {
	return stat{dev: devIn, ino: n.ino, kind: kind, size: size, nlink: 1}
}

// inDir is a directory of an input.
type inDir struct {
	inNode
	depth int
}

func (d *inDir) stat() stat    { return d.statAs(typeDirectory, 0) }
func (d *inDir) up() directory { return d.parent }

func (d *inDir) lookup(ctx context.Context, name string) (node, errno) {
	o, e := d.in.open(ctx, d.cid)
	if e != eOK {
		return nil, e
	}
	if f, ok := d.in.found.get(d.cid, name); ok {
		return d.in.node(ctx, f.cid, f.claimed, d, d.root, name)
	}
	c, size, err := o.dir.Lookup(ctx, name)
	if err != nil {
		var none *dag.NoEntryError
		if errors.As(err, &none) {
			return nil, eNOENT
		}
		return nil, machine(err)
	}
	if o.dir.Sharded() {
		d.in.found.add(d.cid, name, found{c, size})
	}
	return d.in.node(ctx, c, size, d, d.root, name)
}

// next lists entries in the order of the directory's blocks. It skips entries whose names
// cannot be part of a path.
func (d *inDir) next(ctx context.Context, after uint64) (entry, bool, errno) {
	o, e := d.in.open(ctx, d.cid)
	if e != eOK {
		return entry{}, false, e
	}
	for cursor := int64(after - cookieDotDot); ; {
		de, next, err := o.dir.Next(ctx, cursor)
		if e := machine(err); e != eOK || next == 0 {
			return entry{}, false, e
		}
		if cursor = next; !nameable(de.Name) {
			continue
		}
		kind, e := d.in.kind(ctx, de.CID)
		if o.dir.Sharded() {
			d.in.found.add(d.cid, de.Name, found{de.CID, de.TSize})
		}
		return entry{de.Name, hashInode(d.ino, de.Name), kind, uint64(next) + cookieDotDot}, e == eOK, e
	}
}

// nameable reports whether name can be one component of a path.
func nameable(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= abi.MaxName &&
		!strings.ContainsAny(name, "/\x00") && utf8.ValidString(name)
}

// inLink is a symlink of an input.
type inLink struct {
	inNode
	to string
}

func (l *inLink) stat() stat     { return l.statAs(typeSymlink, uint64(len(l.to))) }
func (l *inLink) target() string { return l.to }

// inside keeps the link in its input. An input that is itself a symlink cannot be followed.
func (l *inLink) inside() (directory, bool) { return l.root, l.root != nil }

// inFile is a file of an input.
type inFile struct {
	inNode
	size    uint64
	settled bool // size is that of the file; else what its directory claims, until it is opened
}

func (f *inFile) stat() stat { return f.statAs(typeRegular, f.size) }

// settle replaces a claimed size by the real one.
func (f *inFile) settle(ctx context.Context) errno {
	if f.settled {
		return eOK
	}
	o, e := f.in.open(ctx, f.cid)
	if e == eOK {
		f.size, f.settled = o.size, true
	}
	return e
}

func (f *inFile) readAt(ctx context.Context, a *fuel.Account, p []byte, off uint64) (int, errno) {
	if off >= f.size || len(p) == 0 {
		return 0, eOK
	}
	o, e := f.in.open(ctx, f.cid)
	if e != eOK {
		return 0, e
	}
	if o.file == nil {
		b, err := dag.Load(ctx, f.in.blocks, f.cid)
		if e := machine(err); e != eOK {
			return 0, e
		}
		rest := b.Data()[min(off, uint64(len(b.Data()))):]
		a.Spend(abi.FuelBlock + abi.FuelCopy(uint64(min(len(p), len(rest)))))
		return copy(p, rest), eOK
	}
	n, err := a.ReadAt(ctx, o.file, p, int64(off), false)
	return n, machine(err)
}
