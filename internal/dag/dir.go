package dag

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// maxEntryName is the maximum length of a name in bytes: more than current file systems allow.
const maxEntryName = 1024

// DirWriter builds a directory from its entries: a plain one, or a sharded one (HAMT) if it would be larger than the
// profile allows. The order of adding does not matter. It must not be used concurrently.
type DirWriter struct {
	bs      Blocks
	p       Profile
	entries []dirLink
	size    int // estimated as in the profile
	content uint64
	keys    map[uint64]int // index of the entry with each NameKey
}

type dirLink struct {
	pbLink
	hash uint64 // of the name
}

// NewDirWriter starts a directory in bs.
func NewDirWriter(bs Blocks, p Profile) *DirWriter {
	d := &DirWriter{bs: bs, p: p, keys: make(map[uint64]int)}
	if p.ShardByBlock {
		d.size = len(pbNode{data: plainDirData}.encode())
	}
	return d
}

var plainDirData = fsNode{typ: fsDirectory}.encode()

// Add adds an entry. A name is 1 to 1,024 bytes without '/' and NUL, not "." or "..", and unique. Two names with the
// same [Profile.NameKey] cannot be in one directory.
func (d *DirWriter) Add(name string, e Entry) error {
	if err := checkName(name); err != nil {
		return err
	}
	hash := nameHash(name)
	key := hash >> (64 - d.p.hashBits())
	if i, ok := d.keys[key]; ok {
		return nameConflict(d.entries[i].name, name)
	}
	d.keys[key] = len(d.entries)
	l := pbLink{cid: e.CID, name: name, tsize: e.TSize}
	d.entries = append(d.entries, dirLink{pbLink: l, hash: hash})
	d.content += e.Size
	if d.p.ShardByBlock {
		d.size += linkSize(l)
	} else {
		d.size += len(name) + e.CID.ByteLen()
	}
	return nil
}

// nameConflict returns the error for two names with the same key in one directory.
func nameConflict(a, b string) error {
	if a == b {
		return fmt.Errorf("duplicate name %q in a directory", a)
	}
	return fmt.Errorf("names %q and %q have the same hash and cannot be in one directory", a, b)
}

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is not a valid name in a directory", name)
	case len(name) > maxEntryName:
		return fmt.Errorf("name of %d bytes is over the limit of %d", len(name), maxEntryName)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("name %q contains a slash or a zero byte", name)
	}
	return nil
}

// Finish stores the directory and returns it.
func (d *DirWriter) Finish(ctx context.Context) (Entry, error) {
	root, err := d.root(ctx)
	if err != nil {
		return Entry{}, err
	}
	return Entry{CID: root.cid, Size: d.content, TSize: root.tsize, Kind: abi.KindDirectory}, nil
}

func (d *DirWriter) root(ctx context.Context) (pbLink, error) {
	if d.size > d.p.ShardSize {
		return d.sharded(ctx)
	}
	slices.SortFunc(d.entries, func(a, b dirLink) int { return strings.Compare(a.name, b.name) })
	n := pbNode{data: plainDirData, links: make([]pbLink, len(d.entries))}
	for i, e := range d.entries {
		n.links[i] = e.pbLink
	}
	return putNode(ctx, d.bs, d.p, n)
}

// putNode stores n and returns a link to it without a name.
func putNode(ctx context.Context, bs Blocks, p Profile, n pbNode) (pbLink, error) {
	b, err := p.node(n.encode())
	if err != nil {
		return pbLink{}, err
	}
	if err := bs.Put(ctx, b); err != nil {
		return pbLink{}, err
	}
	l := pbLink{cid: b.cid, tsize: uint64(len(b.data))}
	for _, below := range n.links {
		l.tsize = addSat(l.tsize, below.tsize)
	}
	return l, nil
}
