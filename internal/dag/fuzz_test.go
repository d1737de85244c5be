package dag

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/ipfs/go-cid"
)

// fuzzSet is a set of blocks that a fuzzed block can link to: leaves, a file, a shard.
func fuzzSet() (bs *MemBlocks, leaf, file, shard cid.Cid) {
	bs = new(MemBlocks)
	leaf = put(bs, cid.Raw, []byte("0123456789"))
	file = putFS(bs, fsFileNode([]byte("ab"), 10, 10), linksTo(leaf, leaf)...)
	slot := slotOf(nameHash("name"), 8, 8)
	field := make([]byte, 32)
	field[31-slot/8] = 1 << (slot % 8)
	shard = shardBlock(bs, 256, field, pbLink{cid: leaf, name: slotPrefix(slot, 256) + "name"})
	return bs, leaf, file, shard
}

// FuzzOpenFile: a file reads the same by offset and as a whole, has the size it claims, or is an error.
func FuzzOpenFile(f *testing.F) {
	bs, leaf, file, _ := fuzzSet()
	for _, n := range []fsNode{fsFileNode(nil, 10, 22), fsFileNode([]byte("own"), 10, 22), {typ: fsFile, data: []byte("x")}, fsFileNode(nil, 22, 10)} {
		f.Add(pbNode{data: n.encode(), links: linksTo(leaf, file)}.encode(), uint16(7), uint16(20))
	}
	f.Fuzz(func(t *testing.T, b []byte, off, n uint16) {
		file, err := OpenFile(ctx, bs, put(bs, cid.DagProtobuf, b))
		if err != nil || file.Size() > 1<<16 {
			return
		}
		whole, err := io.ReadAll(file.Reader(ctx))
		if err != nil {
			return
		}
		if int64(len(whole)) != file.Size() {
			t.Fatalf("%d bytes of %d", len(whole), file.Size())
		}
		got, want := make([]byte, n), make([]byte, n)
		gn, gerr := file.ReadAt(ctx, got, int64(off))
		wn, _ := bytes.NewReader(whole).ReadAt(want, int64(off))
		if gn != wn || !bytes.Equal(got[:gn], want[:wn]) || gerr != nil && gerr != io.EOF {
			t.Fatalf("ReadAt(%d, %d) = %d, %v; want %d", off, n, gn, gerr, wn)
		}
		if leaves, err := file.Leaves(ctx, 0, file.Size()); err != nil || leaves > file.Size() || leaves == 0 && len(whole) > 0 {
			t.Fatalf("%d leaves of %d bytes, %v", leaves, len(whole), err)
		}
	})
}

// FuzzOpenDir: every listed entry can be looked up, and its cursor leads to it.
func FuzzOpenDir(f *testing.F) {
	bs, leaf, file, shard := fuzzSet()
	slot := slotOf(nameHash("name"), 0, 8)
	field := make([]byte, 32)
	field[31-slot/8] = 1 << (slot % 8)
	f.Add(pbNode{data: plainDirData, links: []pbLink{{cid: leaf, name: "a"}, {cid: file, name: "b"}}}.encode())
	for _, l := range []pbLink{{cid: leaf, name: slotPrefix(slot, 256) + "name"}, {cid: shard, name: slotPrefix(slot, 256)}} {
		f.Add(pbNode{data: fsNode{typ: fsShard, data: field, hashType: murmur3x64, fanout: 256}.encode(), links: []pbLink{l}}.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := put(bs, cid.DagProtobuf, b)
		d, err := OpenDir(ctx, bs, c)
		if err != nil {
			return
		}
		for cursor := int64(0); ; {
			e, next, err := d.Next(ctx, cursor)
			if err != nil || next == 0 {
				return
			}
			if next <= cursor {
				t.Fatalf("cursor %d after %d", next, cursor)
			}
			if got, _, err := d.Lookup(ctx, e.Name); err != nil || d.Sharded() && got != e.CID {
				var malformed *FormatError
				if !errors.As(err, &malformed) {
					t.Fatalf("listed entry %q: Lookup = %s, %v", e.Name, got, err)
				}
			}
			fresh, err := OpenDir(ctx, bs, c)
			if err != nil {
				t.Fatal(err)
			}
			if again, _, err := fresh.Next(ctx, cursor); err != nil || again != e {
				t.Fatalf("cursor %d leads to %v and then to %v, %v", cursor, e, again, err)
			}
			cursor = next
		}
	})
}
