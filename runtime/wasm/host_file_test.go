package wasm

import (
	"bytes"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

func TestFileRead(t *testing.T) {
	w := newHarness(t)
	content := bytes.Repeat([]byte("0123456789"), 300_000)
	dir := w.EmptyDir(t)
	d := drive(t, w, nil, w.Add(t, content), dir, addBlock(t, w, cid.DagCBOR, "\xa0").CID())
	for _, c := range []struct{ off, n uint64 }{{0, 10}, {1<<20 - 5, 10}, {2_999_995, 10}, {3_000_000, 10}, {1 << 62, 10}, {5, 100_000}} {
		d.mod.Memory().Write(0, make([]byte, c.n))
		d.want(3_000_000, "file_read", 0, c.off, 0, c.n)
		want := make([]byte, c.n)
		if c.off < uint64(len(content)) {
			copy(want, content[c.off:])
		}
		if got := d.get(0, uint32(c.n)); got != string(want) {
			t.Errorf("file_read(%d, %d): wrong bytes", c.off, c.n)
		}
	}
	d.fails(abi.INVAL, "file_read", 0, 1<<63, 0, 1)
	d.fails(abi.NOTFILE, "file_read", 1, 0, 0, 1)
	d.fails(abi.NOTFILE, "file_read", 2, 0, 0, 1)
	d.want(abi.KindFile, "kind", 0)
	d.want(abi.KindDirectory, "kind", 1)
	d.want(abi.KindOther, "kind", 2)
}

func TestFileWrite(t *testing.T) {
	w := newHarness(t)
	d := drive(t, w, nil)
	ptr, n := d.put(0, "hello ")
	d.want(0, "file_create")
	d.want(6, "file_write", 0, ptr, n)
	d.want(12, "file_write", 0, ptr, n)
	d.want(12, "file_write", 0, ptr, 0)
	d.put(0, "XXXXXX") // the host has its own copy of what was written
	d.want(0, "file_finish", 0)
	d.want(12, "file_read", 0, 0, 0, 100)
	if got := d.get(0, 12); got != "hello hello " {
		t.Errorf("read back %q", got)
	}
	if want := w.Add(t, []byte("hello hello ")); d.call("cid", 0, 0, 100) != 36 || d.get(0, 36) != want.KeyString() {
		t.Errorf("wrong CID of the file, want %s", want)
	}
}
