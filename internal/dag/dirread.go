package dag

import (
	"context"
	"fmt"
	"math/bits"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// DirEntry is a link of a directory. Name and size are the directory's claims: the name may be any string; check it
// before creating a file with it.
type DirEntry struct {
	Name  string
	CID   cid.Cid
	TSize uint64 // bytes below CID, as claimed by the directory's writer
}

// Dir reads a UnixFS directory, plain or sharded. Methods may be called concurrently.
type Dir struct {
	bs   Blocks
	root *dirNode

	mu       sync.Mutex
	byName   map[string]int // index of a plain directory; built by the second Lookup
	looked   bool
	walk     shardWalk  // position after the last Next of a sharded directory
	lastPath []*dirNode // shards on the path of the last Lookup, below the root
}

// dirNode is a block of a directory.
type dirNode struct {
	cid    cid.Cid
	links  []pbLink
	fanout int   // slots of a shard; 0 for a plain directory
	slots  []int // of a shard: the slot of each link, ascending
}

// OpenDir reads the root of a directory. The error is a *NotDirError if c is not a directory.
func OpenDir(ctx context.Context, bs Blocks, c cid.Cid) (*Dir, error) {
	root, err := loadDirNode(ctx, bs, c)
	if err != nil {
		return nil, err
	}
	return &Dir{bs: bs, root: root}, nil
}

// CID returns the directory's CID.
func (d *Dir) CID() cid.Cid { return d.root.cid }

// Sharded reports whether the directory is a trie of blocks, listed in hash order, instead of one block, listed in
// link order.
func (d *Dir) Sharded() bool { return d.root.fanout > 0 }

func loadDirNode(ctx context.Context, bs Blocks, c cid.Cid) (*dirNode, error) {
	if c.Type() != cid.DagProtobuf {
		return nil, &NotDirError{c, "a " + codecName(c.Type()) + " block"}
	}
	b, err := Load(ctx, bs, c)
	if err != nil {
		return nil, err
	}
	n, err := parsePB(b.data)
	if err != nil {
		return nil, formatErrorf(c, "dag-pb: %v", err)
	}
	fs, err := parseFS(n.data)
	if err != nil {
		return nil, &NotDirError{c, "a dag-pb block"}
	}
	switch fs.typ {
	case fsDirectory:
		return &dirNode{cid: c, links: n.links}, nil
	case fsShard:
		d, err := shardNode(n, fs)
		if err != nil {
			return nil, formatErrorf(c, "sharded directory: %v", err)
		}
		d.cid = c
		return d, nil
	}
	return nil, &NotDirError{c, fs.typ.String()}
}

// maxFanout is the largest supported fanout of a shard.
const maxFanout = 1024

// shardNode checks a shard: its fanout, and that bitfield and links match.
func shardNode(n pbNode, fs fsNode) (*dirNode, error) {
	if fs.hashType != murmur3x64 {
		return nil, fmt.Errorf("HAMT shard uses unsupported hash function 0x%x", fs.hashType)
	}
	if fs.fanout < 8 || fs.fanout > maxFanout || fs.fanout&(fs.fanout-1) != 0 {
		return nil, fmt.Errorf("HAMT shard has unsupported fanout %d", fs.fanout)
	}
	d := &dirNode{links: n.links, fanout: int(fs.fanout), slots: make([]int, 0, len(n.links))}
	if len(fs.data) > d.fanout/8 {
		return nil, fmt.Errorf("HAMT shard has a bitfield of %d bytes for a fanout of %d", len(fs.data), d.fanout)
	}
	for i := range fs.data {
		octet := fs.data[len(fs.data)-1-i]
		for ; octet != 0; octet &= octet - 1 {
			d.slots = append(d.slots, 8*i+bits.TrailingZeros8(octet))
		}
	}
	if len(d.slots) != len(d.links) {
		return nil, fmt.Errorf("HAMT shard has %d links, but %d slots in use", len(d.links), len(d.slots))
	}
	pad := prefixLen(d.fanout)
	for i, l := range d.links {
		if !hasSlotPrefix(l.name, d.slots[i], pad) {
			return nil, fmt.Errorf("HAMT shard has link %q in slot %d", l.name, d.slots[i])
		}
	}
	return d, nil
}

func (n *dirNode) width() int { return bits.Len(uint(n.fanout)) - 1 }

// entry returns link i of a shard as an entry; ok is false if the link leads to a shard one level down.
func (n *dirNode) entry(i int) (e DirEntry, ok bool) {
	l := n.links[i]
	name := l.name[prefixLen(n.fanout):]
	return DirEntry{name, l.cid, l.tsize}, name != ""
}

// Lookup returns the CID and the claimed size of the entry with that name. It reads only the blocks on the path to
// it. The error is a *NoEntryError if it does not exist.
func (d *Dir) Lookup(ctx context.Context, name string) (cid.Cid, uint64, error) {
	if !d.Sharded() {
		return d.lookupPlain(name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	hash, used := nameHash(name), 0
	for n, level := d.root, 0; ; level++ {
		i := n.link(slotOf(hash, used, n.width()))
		if i < 0 {
			break
		}
		e, isEntry := n.entry(i)
		if isEntry {
			if e.Name != name {
				break
			}
			return e.CID, e.TSize, nil
		}
		used += n.width()
		if level < len(d.lastPath) && d.lastPath[level].cid == n.links[i].cid {
			n = d.lastPath[level]
			continue
		}
		var err error
		if n, err = d.below(ctx, n, i, used); err != nil {
			return cid.Undef, 0, err
		}
		d.lastPath = append(d.lastPath[:level], n)
	}
	return cid.Undef, 0, &NoEntryError{d.root.cid.String(), name}
}

// link returns the index of the link in slot, or -1.
func (n *dirNode) link(slot int) int {
	for i, s := range n.slots {
		if s == slot {
			return i
		}
	}
	return -1
}

// below reads the shard that link i of n leads to; used is the number of hash bits that lead there.
func (d *Dir) below(ctx context.Context, n *dirNode, i, used int) (*dirNode, error) {
	if used+n.width() > maxHashBits {
		return nil, formatErrorf(d.root.cid, "sharded directory is deeper than its hashes")
	}
	sub, err := loadDirNode(ctx, d.bs, n.links[i].cid)
	if e, ok := err.(*NotDirError); ok {
		return nil, formatErrorf(n.cid, "HAMT shard %s is %s", e.CID, e.Is)
	}
	if err != nil {
		return nil, err
	}
	if len(sub.links) == 0 {
		return nil, formatErrorf(sub.cid, "empty shard inside a sharded directory")
	}
	if sub.fanout != n.fanout {
		return nil, formatErrorf(sub.cid, "HAMT shard with a fanout of %d below one of %d", sub.fanout, n.fanout)
	}
	return sub, nil
}

func (d *Dir) lookupPlain(name string) (cid.Cid, uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := -1, false
	if d.looked {
		if d.byName == nil {
			d.byName = make(map[string]int, len(d.root.links))
			for i := len(d.root.links) - 1; i >= 0; i-- { // the first of equal names wins
				d.byName[d.root.links[i].name] = i
			}
		}
		i, ok = d.byName[name]
	} else {
		d.looked = true
		for i = range d.root.links {
			if ok = d.root.links[i].name == name; ok {
				break
			}
		}
	}
	if !ok {
		return cid.Undef, 0, &NoEntryError{d.root.cid.String(), name}
	}
	return d.root.links[i].cid, d.root.links[i].tsize, nil
}

// Next returns the entry at a cursor and the next cursor. A listing begins with cursor 0; at its end next is 0 and
// the entry is empty. Cursors are valid for every reader of the same directory.
func (d *Dir) Next(ctx context.Context, cursor int64) (e DirEntry, next int64, err error) {
	if cursor < 0 {
		return DirEntry{}, 0, nil
	}
	if d.Sharded() {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.nextSharded(ctx, uint64(cursor))
	}
	if cursor >= int64(len(d.root.links)) {
		return DirEntry{}, 0, nil
	}
	l := d.root.links[cursor]
	return DirEntry{l.name, l.cid, l.tsize}, cursor + 1, nil
}

// Each calls f with every entry in order, until f or a read fails.
func (d *Dir) Each(ctx context.Context, f func(DirEntry) error) error {
	for cursor := int64(0); ; {
		e, next, err := d.Next(ctx, cursor)
		if err != nil || next == 0 {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
		cursor = next
	}
}

// Kind returns the kind of c: abi.KindRaw, KindFile, KindDirectory, KindSymlink or, for everything else, KindOther.
// It reads the block unless the codec determines the kind.
func Kind(ctx context.Context, bs Blocks, c cid.Cid) (int, error) {
	if c.Type() == cid.Raw {
		return abi.KindRaw, nil
	}
	if c.Type() != cid.DagProtobuf {
		return abi.KindOther, nil
	}
	b, err := Load(ctx, bs, c)
	if err != nil {
		return 0, err
	}
	fs, err := blockFS(b)
	if err != nil {
		return abi.KindOther, nil
	}
	switch fs.typ {
	case fsFile, fsRaw:
		return abi.KindFile, nil
	case fsDirectory, fsShard:
		return abi.KindDirectory, nil
	case fsSymlink:
		return abi.KindSymlink, nil
	}
	return abi.KindOther, nil
}

// blockFS parses the UnixFS message of a dag-pb block.
func blockFS(b Block) (fsNode, error) {
	n, err := parsePB(b.data)
	if err != nil {
		return fsNode{}, err
	}
	return parseFS(n.data)
}

// NotSymlinkError means that CID is not a symlink.
type NotSymlinkError struct{ CID cid.Cid }

func (e *NotSymlinkError) Error() string { return fmt.Sprintf("%s is not a symlink", e.CID) }

// ReadLink returns the target of symlink c, or a *NotSymlinkError.
func ReadLink(ctx context.Context, bs Blocks, c cid.Cid) (string, error) {
	if c.Type() != cid.DagProtobuf {
		return "", &NotSymlinkError{c}
	}
	b, err := Load(ctx, bs, c)
	if err != nil {
		return "", err
	}
	if fs, err := blockFS(b); err == nil && fs.typ == fsSymlink {
		return string(fs.data), nil
	}
	return "", &NotSymlinkError{c}
}
