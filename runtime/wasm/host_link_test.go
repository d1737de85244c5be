package wasm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// identity returns a CID that contains data itself.
func identity(t testing.TB, data string) cid.Cid {
	t.Helper()
	mh, err := multihash.Sum([]byte(data), multihash.IDENTITY, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.DagCBOR, mh)
}

func TestLinks(t *testing.T) {
	w := newHarness(t)
	leaf := addBlock(t, w, cid.Raw, "leaf")
	gone := dag.NewBlock(cid.Raw, []byte("not here"))
	sha1, err := multihash.Sum([]byte("x"), multihash.SHA1, -1)
	if err != nil {
		t.Fatal(err)
	}
	exotic := cid.NewCidV1(cid.Raw, sha1)
	inner := identity(t, cborLinks())
	root := addBlock(t, w, cid.DagCBOR, cborLinks(leaf.CID(), gone.CID(), exotic, inner, leaf.CID()))
	d := drive(t, w, nil, root.CID(), addBlock(t, w, cid.GitRaw, "codec without links").CID(), addBlock(t, w, cid.DagCBOR, "\xff").CID())

	d.want(5, "link_count", 0)
	d.want(3, "link", 0, 0)
	d.want(4, "block_read", 3, 0, 0, 4)
	d.want(4, "link", 0, 1) // a missing block has a handle, too
	d.fails(abi.CODEC, "link", 0, 2)
	d.want(5, "link", 0, 3)
	d.want(1, "block_read", 5, 0, 0, 0)
	d.fails(abi.RANGE, "link", 0, 5)
	d.fails(abi.RANGE, "link", 0, far)
	d.want(0, "link_count", 3)

	// A guest cannot tell whether the host has a CID.
	for _, c := range []cid.Cid{leaf.CID(), gone.CID()} {
		ptr, n := d.put(0, c.KeyString())
		if h := d.call("child", 0, ptr, n); h < 6 {
			t.Errorf("child(%s) = %s", c, answer(h))
		}
		d.fails(abi.NOLINK, "child", 3, ptr, n)
	}
	for _, b := range []string{"", "junk", leaf.CID().KeyString() + "x", strings.Repeat("\x01", 200), exotic.KeyString()} {
		ptr, n := d.put(0, b)
		d.fails(abi.CID, "child", 0, ptr, n)
	}
	d.fails(abi.FORMAT, "link_count", 1)
	d.fails(abi.CODEC, "link", 1, 0)
	d.fails(abi.FORMAT, "link_count", 2)
	d.fails(abi.FORMAT, "link", 2, 0)

	// Reading a missing block ends the run, invisible to the guest.
	_, err = d.try("block_read", 4, 0, 0, 1)
	var missing *dag.NotFoundError
	if !errors.As(err, &missing) || missing.CID != gone.CID() {
		t.Errorf("error %v, want one that names %s as missing", err, gone.CID())
	}
}

// TestMalformedBlocks reads blocks that are not valid for their codec: every call answers
// FORMAT or an errno for another kind, and none ends the run.
func TestMalformedBlocks(t *testing.T) {
	for name, b := range map[string]struct {
		codec uint64
		data  string
	}{
		"empty cbor": {cid.DagCBOR, ""}, "cut cbor": {cid.DagCBOR, "\x82\x01"}, "cbor with trailing bytes": {cid.DagCBOR, "\xa0\x00"},
		"cbor bomb": {cid.DagCBOR, "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"}, "deep cbor": {cid.DagCBOR, strings.Repeat("\x81", 100_000)},
		"cbor map bomb": {cid.DagCBOR, "\xbb\xff\xff\xff\xff\xff\xff\xff\xff"},
		"empty pb":      {cid.DagProtobuf, ""}, "cut pb": {cid.DagProtobuf, "\x0a\x05\x08"}, "pb garbage": {cid.DagProtobuf, "\xff\xff\xff\xff"},
		"pb of an unknown type": {cid.DagProtobuf, "\x0a\x02\x08\x09"}, "huge file": {cid.DagProtobuf, "\x0a\x0b\x08\x02\x18\xff\xff\xff\xff\xff\xff\xff\x7f"},
		"shard of no fanout": {cid.DagProtobuf, "\x0a\x04\x08\x05\x12\x00"},
		"unknown codec":      {cid.GitRaw, "x"}, "libp2p key": {0x72, "x"},
	} {
		w := newHarness(t)
		d := drive(t, w, nil, addBlock(t, w, b.codec, b.data).CID())
		ptr, n := d.put(0, "0/1")
		for call, args := range map[string][]uint64{
			"kind": {0}, "link_count": {0}, "link": {0, 0}, "file_read": {0, 0, 0, 10}, "resolve": {0, ptr, n},
			"dir_next": {0, 0, 0, 10}, "readlink": {0, 0, 10}, "block_read": {0, 0, 0, 10},
		} {
			if _, err := d.try(call, args...); err != nil {
				t.Errorf("%s of %s ended the run: %v", call, name, err)
			}
		}
	}
}

// symlinkTo returns the block of a symlink.
func symlinkTo(target string) string {
	fs := cat([]byte{0x08, 4, 0x12, byte(len(target))}, []byte(target))
	return string(cat([]byte{0x0a, byte(len(fs))}, fs))
}

// directory stores a directory of names, each a file that holds its name.
func directory(t testing.TB, w *runtimetest.Harness, names ...string) cid.Cid {
	t.Helper()
	dw := dag.NewDirWriter(&w.Blocks, dag.UnixFSv1)
	for _, n := range names {
		c := w.Add(t, []byte(n))
		if err := dw.Add(n, dag.Entry{CID: c, Size: uint64(len(n)), TSize: uint64(len(n)), Kind: abi.KindRaw}); err != nil {
			t.Fatal(err)
		}
	}
	e, err := dw.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

func TestResolve(t *testing.T) {
	w := newHarness(t)
	leaf := w.Add(t, []byte("leaf"))
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("file-%d", i))
	}
	link := addBlock(t, w, cid.DagProtobuf, symlinkTo("a/b"))
	d := drive(t, w, nil,
		directory(t, w, "a", "b"), directory(t, w, many...), leaf,
		addBlock(t, w, cid.DagCBOR, "\xa2\x61k"+cborLinks(leaf)+"\x61v\x01").CID(), link.CID())
	path := func(h uint64, p string) (args []uint64) {
		ptr, n := d.put(0, p)
		return []uint64{h, ptr, n}
	}
	read := func(h int64) string { return d.get(1000, uint32(d.call("file_read", uint64(h), 0, 1000, 100))) }
	for _, c := range []struct {
		h    uint64
		path string
		want string
	}{
		{0, "a", "a"}, {0, "b", "b"}, {0, "/b/", "b"}, {1, "file-4321", "file-4321"}, {2, "", "leaf"}, {3, "k/0", "leaf"},
	} {
		h := d.call("resolve", path(c.h, c.path)...)
		if h < 0 {
			t.Errorf("resolve(%d, %q) = %s", c.h, c.path, answer(h))
		} else if got := read(h); got != c.want {
			t.Errorf("resolve(%d, %q): got %q", c.h, c.path, got)
		}
	}
	for _, c := range []struct {
		h    uint64
		path string
		want abi.Errno
	}{
		{0, "c", abi.NOENT},
		{1, "file-10000", abi.NOENT},
		{0, "a/x", abi.NOTDIR},
		{2, "x", abi.NOTDIR},
		{4, "x", abi.NOTDIR},
		{3, "k/1", abi.NOENT},
		{3, "k/-1", abi.NOENT},
		{3, "z", abi.NOENT},
		{3, "v", abi.NOENT},
		{3, "v/x", abi.NOTDIR},
		{0, "../a", abi.INVAL},
		{0, ".", abi.INVAL},
		{0, "a\x00", abi.INVAL},
		{0, strings.Repeat("a/", 257), abi.INVAL},
		{0, strings.Repeat("a", 4097), abi.INVAL},
	} {
		if got := d.call("resolve", path(c.h, c.path)...); got != -int64(c.want) {
			t.Errorf("resolve(%d, %.20q) = %s, want %s", c.h, c.path, answer(got), c.want)
		}
	}
	d.want(3, "readlink", 4, 0, 2)
	if got := d.get(0, 2); got != "a/" {
		t.Errorf("readlink %q", got)
	}
	d.fails(abi.INVAL, "readlink", 0, 0, 2)
	d.fails(abi.INVAL, "readlink", 2, 0, 2)
}

func TestDirNext(t *testing.T) {
	w := newHarness(t)
	var many []string
	for i := range 8_000 {
		many = append(many, fmt.Sprintf("a long enough name to need shards %d", i))
	}
	d := drive(t, w, nil, directory(t, w, "b", "a", "c"), directory(t, w, many...), w.EmptyDir(t), w.Add(t, nil))
	list := func(h uint64) (names []string) {
		for cursor := int64(0); ; {
			cursor = d.call("dir_next", h, uint64(cursor), 0, 300)
			if cursor <= 0 {
				return names
			}
			n := binary.LittleEndian.Uint32([]byte(d.get(0, 4)))
			names = append(names, d.get(4, n))
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, list(0)); diff != "" {
		t.Error(diff)
	}
	got := map[string]bool{}
	for _, n := range list(1) {
		got[n] = true
	}
	if len(got) != len(many) {
		t.Errorf("%d names of %d", len(got), len(many))
	}
	d.want(0, "dir_next", 2, 0, 0, 300)
	d.fails(abi.NOTDIR, "dir_next", 3, 0, 0, 300)
	d.want(0, "dir_next", 0, 1<<63, 0, 300)
	d.want(0, "dir_next", 0, 1<<62, 0, 300)

	d.put(0, "........")
	d.want(1, "dir_next", 0, 0, 0, 2) // a short buffer gets what fits
	if got := d.get(0, 8); got != "\x01\x00......" {
		t.Errorf("dir_next wrote %q into 2 bytes", got)
	}
}
