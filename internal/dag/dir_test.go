package dag

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
)

// bigDir makes a directory of n entries; from 5,000 on it is sharded.
func bigDir(t testing.TB, bs Blocks, n int) (*Dir, []string) {
	t.Helper()
	w := NewDirWriter(bs, UnixFSv1)
	var names []string
	for i := range n {
		name := fmt.Sprintf("entry-%05d-of-a-directory-with-long-names", i)
		names = append(names, name)
		b := NewBlock(cid.Raw, []byte(name))
		if err := w.Add(name, Entry{CID: b.CID(), Size: 1, TSize: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	e, err := w.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if e.Size != uint64(n) {
		t.Errorf("directory content: got %d bytes, want %d", e.Size, n)
	}
	d, err := OpenDir(ctx, bs, e.CID)
	if err != nil {
		t.Fatal(err)
	}
	return d, names
}

func TestDirLookupAndListing(t *testing.T) {
	for _, n := range []int{0, 1, 10, 20000} {
		bs := new(watchBlocks)
		d, names := bigDir(t, bs, n)
		if d.Sharded() != (n == 20000) {
			t.Fatalf("%d entries: sharded %t", n, d.Sharded())
		}
		bs.gets = nil
		for i := 0; i < n; i += 1 + n/100 {
			c, size, err := d.Lookup(ctx, names[i])
			if err != nil || c != NewBlock(cid.Raw, []byte(names[i])).CID() || size != uint64(i) {
				t.Fatalf("Lookup(%q) = %s, %d, %v", names[i], c, size, err)
			}
		}
		if per := len(bs.gets); n > 0 && per > 3*min(n, 101) {
			t.Errorf("%d lookups read %d blocks", min(n, 101), per)
		}
		var missing *NoEntryError
		if _, _, err := d.Lookup(ctx, "missing"); !errors.As(err, &missing) || missing.Name != "missing" {
			t.Errorf("missing name: %v", err)
		}
		var got []string
		if err := d.Each(ctx, func(e DirEntry) error { got = append(got, e.Name); return nil }); err != nil {
			t.Fatal(err)
		}
		if d.Sharded() {
			if !slices.IsSortedFunc(got, func(a, b string) int { return cmp.Compare(nameHash(a), nameHash(b)) }) {
				t.Error("listing of a sharded directory is not in hash order")
			}
			slices.Sort(got)
		}
		if !slices.Equal(got, names) {
			t.Errorf("%d entries: listed %d", n, len(got))
		}
	}
}

// TestCursors: a cursor is valid in any reader of the directory and in any order.
func TestCursors(t *testing.T) {
	for _, n := range []int{10, 20000} {
		var bs MemBlocks
		d, _ := bigDir(t, &bs, n)
		type place struct {
			cursor int64
			name   string
		}
		var places []place
		for cursor := int64(0); ; {
			e, next, err := d.Next(ctx, cursor)
			if err != nil {
				t.Fatal(err)
			}
			if next == 0 {
				break
			}
			if next <= cursor {
				t.Fatalf("cursor %d after %d", next, cursor)
			}
			places = append(places, place{cursor, e.Name})
			cursor = next
		}
		other, err := OpenDir(ctx, &bs, d.CID())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			p := places[i*7919%len(places)]
			if e, _, err := other.Next(ctx, p.cursor); err != nil || e.Name != p.name {
				t.Fatalf("at %d: %q, %v; want %q", p.cursor, e.Name, err, p.name)
			}
		}
		for _, bad := range []int64{-1, math.MinInt64, math.MaxInt64} {
			if e, next, err := other.Next(ctx, bad); next != 0 || err != nil || e.Name != "" {
				t.Errorf("cursor %d: %v, %d, %v", bad, e, next, err)
			}
		}
	}
}

func TestDirWriterRefuses(t *testing.T) {
	w := NewDirWriter(new(MemBlocks), UnixFSv1)
	e := Entry{CID: NewBlock(cid.Raw, nil).CID()}
	for _, name := range []string{"", ".", "..", "a/b", "/", "a\x00", strings.Repeat("x", 1025)} {
		if err := w.Add(name, e); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
	if err := w.Add("a", e); err != nil {
		t.Error(err)
	}
	if err := w.Add("a", e); err == nil {
		t.Error("a duplicate name was accepted")
	}
}

// shardBlock makes a node of a sharded directory with any arguments, valid or not.
func shardBlock(bs Blocks, fanout uint64, field []byte, links ...pbLink) cid.Cid {
	return putFS(bs, fsNode{typ: fsShard, data: field, hashType: murmur3x64, fanout: fanout}, links...)
}

func TestHostileShards(t *testing.T) {
	bs := new(MemBlocks)
	leaf := put(bs, cid.Raw, []byte("x"))
	slot := slotOf(nameHash("name"), 0, 8)
	field := make([]byte, 32)
	field[31-slot/8] = 1 << (slot % 8)
	prefix := slotPrefix(slot, 256)
	entry := pbLink{cid: leaf, name: prefix + "name"}
	good := shardBlock(bs, 256, field, entry)

	// Every slot leads to the same shard below, three levels down: 2^24 ways to a name.
	all := slices.Repeat([]byte{0xff}, 32)
	bomb, deep := good, good
	for range 3 {
		var links []pbLink
		for i := range 256 {
			links = append(links, pbLink{cid: bomb, name: slotPrefix(i, 256)})
		}
		bomb = shardBlock(bs, 256, all, links...)
	}
	for range 200 {
		deep = shardBlock(bs, 256, field, pbLink{cid: deep, name: prefix})
	}
	empty := shardBlock(bs, 256, nil)
	wrongHash := putFS(bs, fsNode{typ: fsShard, data: field, hashType: 0x12, fanout: 256}, entry)
	for name, c := range map[string]cid.Cid{
		"two slots, one link":       shardBlock(bs, 256, append([]byte{0xff}, field[1:]...), entry),
		"no slot, one link":         shardBlock(bs, 256, nil, entry),
		"one slot, no link":         shardBlock(bs, 256, field),
		"bitfield too long":         shardBlock(bs, 256, append([]byte{0}, field...), entry),
		"prefix of another slot":    shardBlock(bs, 256, []byte{1}, pbLink{cid: leaf, name: "01name"}),
		"name shorter than prefix":  shardBlock(bs, 256, field, pbLink{cid: leaf, name: "0"}),
		"entry in the wrong slot":   shardBlock(bs, 256, []byte{1}, pbLink{cid: leaf, name: "00name"}),
		"fanout 0":                  shardBlock(bs, 0, nil),
		"fanout 3":                  shardBlock(bs, 3, nil),
		"fanout 2^40":               shardBlock(bs, 1<<40, field, entry),
		"another hash function":     wrongHash,
		"another fanout below":      shardBlock(bs, 256, field, pbLink{cid: shardBlock(bs, 8, []byte{1}, pbLink{cid: leaf, name: "0x"}), name: prefix}),
		"a file as a shard":         shardBlock(bs, 256, field, pbLink{cid: leaf, name: prefix}),
		"a plain directory below":   shardBlock(bs, 256, field, pbLink{cid: putFS(bs, fsNode{typ: fsDirectory}), name: prefix}),
		"an empty shard below":      shardBlock(bs, 256, field, pbLink{cid: empty, name: prefix}),
		"deeper than the hash":      deep,
		"the same shard everywhere": bomb,
	} {
		d, err := OpenDir(ctx, bs, c)
		if err == nil {
			n := 0
			err = d.Each(ctx, func(DirEntry) error {
				if n++; n > 1 {
					t.Fatalf("%s: listed more than one entry", name)
				}
				return nil
			})
		}
		var malformed *FormatError
		if !errors.As(err, &malformed) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil || d == nil {
			continue
		}
		if _, _, err := d.Lookup(ctx, "name"); err == nil && name != "the same shard everywhere" {
			t.Errorf("%s: the name was found", name)
		}
	}
	d, err := OpenDir(ctx, bs, good)
	if err != nil {
		t.Fatal(err)
	}
	if c, _, err := d.Lookup(ctx, "name"); err != nil || c != leaf {
		t.Errorf("valid shard: %s, %v", c, err)
	}
}

func TestPlainDirWithBadNames(t *testing.T) {
	bs := new(MemBlocks)
	a, b := put(bs, cid.Raw, []byte("a")), put(bs, cid.Raw, []byte("b"))
	c := putFS(bs, fsNode{typ: fsDirectory}, pbLink{cid: a, name: "twice"}, pbLink{cid: b, name: "twice"}, pbLink{cid: b, name: "../up"}, pbLink{cid: a, name: ""})
	d, err := OpenDir(ctx, bs, c)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // by search and by map
		if got, _, err := d.Lookup(ctx, "twice"); err != nil || got != a {
			t.Errorf("got %s, %v, want the first of two entries with the same name", got, err)
		}
	}
	var names []string
	if err := d.Each(ctx, func(e DirEntry) error { names = append(names, e.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"twice", "twice", "../up", ""}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

func TestKind(t *testing.T) {
	bs := new(MemBlocks)
	link, err := AddSymlink(ctx, bs, "../target", UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := bigDir(t, bs, 20000)
	for name, tc := range map[string]struct {
		c    cid.Cid
		kind int
	}{
		"raw":       {put(bs, cid.Raw, nil), 0},
		"file":      {putFS(bs, fsNode{typ: fsFile}), 1},
		"old raw":   {putFS(bs, fsNode{typ: fsRaw}), 1},
		"directory": {putFS(bs, fsNode{typ: fsDirectory}), 2},
		"sharded":   {d.CID(), 2},
		"symlink":   {link.CID, 3},
		"metadata":  {putFS(bs, fsNode{typ: fsMetadata}), 4},
		"dag-cbor":  {put(bs, cid.DagCBOR, []byte{0xa0}), 4},
		"dag-pb":    {put(bs, cid.DagProtobuf, nil), 4},
		"garbage":   {put(bs, cid.DagProtobuf, []byte("garbage")), 4},
	} {
		if kind, err := Kind(ctx, bs, tc.c); err != nil || kind != tc.kind {
			t.Errorf("%s: kind %d, %v; want %d", name, kind, err, tc.kind)
		}
		target, err := ReadLink(ctx, bs, tc.c)
		var notLink *NotSymlinkError
		if isLink := tc.kind == 3; isLink && target != "../target" || !isLink && !errors.As(err, &notLink) {
			t.Errorf("%s: links to %q, %v", name, target, err)
		}
	}
}
