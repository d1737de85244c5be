package wasm

import (
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

func TestBlockRead(t *testing.T) {
	w := newHarness(t)
	d := drive(t, w, nil, w.Add(t, []byte("0123456789")))
	for _, c := range []struct {
		off, n uint64
		want   string
	}{
		{0, 10, "0123456789"}, {0, 3, "012......."}, {8, 5, "89........"}, {10, 5, ".........."}, {far, 5, ".........."}, {0, 0, ".........."},
	} {
		d.put(0, "..........")
		d.want(10, "block_read", 0, c.off, 0, c.n)
		if got := d.get(0, 10); got != c.want {
			t.Errorf("block_read(%d, %d): got %q, want %q", c.off, c.n, got, c.want)
		}
	}
	d.want(int64(cid.Raw), "codec", 0)
	d.want(abi.KindRaw, "kind", 0)
	d.want(36, "cid", 0, 0, 160)
	if got := d.get(0, 36); got != d.run.task.In[0].CID.KeyString() {
		t.Errorf("cid %x", got)
	}
}

func TestBlockTooBig(t *testing.T) {
	w := newHarness(t)
	d := drive(t, w, nil, addBlock(t, w, cid.Raw, strings.Repeat("x", abi.MaxBlockRead+1)).CID())
	d.fails(abi.FORMAT, "block_read", 0, 0, 0, 1)
	d.fails(abi.FORMAT, "file_read", 0, 0, 0, 1)
}

func TestBlockWrite(t *testing.T) {
	w := newHarness(t)
	in := w.Add(t, []byte("in"))
	unseen := addBlock(t, w, cid.Raw, "a block of the store without a handle").CID()
	absent := dag.NewBlock(cid.Raw, []byte("a block that is not stored")).CID()
	d := drive(t, w, nil, in)
	write := func(codec uint64, s string) int64 {
		ptr, n := d.put(0, s)
		return d.call("block_write", codec, ptr, n)
	}
	for _, c := range []struct {
		name  string
		codec uint64
		data  string
		want  int64
	}{
		{"raw", cid.Raw, "bytes", 1},
		{"link to an input", cid.DagCBOR, cborLinks(in), 2},
		{"link to what it made", cid.DagCBOR, cborLinks(dag.NewBlock(cid.Raw, []byte("bytes")).CID()), 3},
		{"link to a stored block without a handle", cid.DagCBOR, cborLinks(unseen), -int64(abi.NOLINK)},
		{"link to a missing block", cid.DagCBOR, cborLinks(absent), -int64(abi.NOLINK)},
		{"one good link, one bad", cid.DagCBOR, cborLinks(in, unseen), -int64(abi.NOLINK)},
		{"identity CID around a link", cid.DagCBOR, cborLinks(identity(t, cborLinks(in))), -int64(abi.NOLINK)},
		{"another codec", cid.GitRaw, "x", -int64(abi.CODEC)},
		{"a codec over 32 bits", far, "x", -int64(abi.CODEC)},
		{"malformed dag-pb", cid.DagProtobuf, "\xff\xff", -int64(abi.FORMAT)},
		{"dag-cbor with trailing bytes", cid.DagCBOR, "\xf6\xf6", -int64(abi.FORMAT)},
		{"dag-cbor, indefinite", cid.DagCBOR, "\x9f\xff", -int64(abi.FORMAT)},
		{"dag-cbor, deep", cid.DagCBOR, strings.Repeat("\x81", 1000) + "\xf6", -int64(abi.FORMAT)},
		{"dag-cbor, a huge list", cid.DagCBOR, "\x9b\xff\xff\xff\xff\xff\xff\xff\xff", -int64(abi.FORMAT)},
	} {
		if got := write(c.codec, c.data); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, answer(got), answer(c.want))
		}
	}
}

func TestBlockWriteSize(t *testing.T) {
	w := newHarness(t)
	d := drive(t, w, nil)
	if _, ok := d.mod.Memory().Grow(32); !ok {
		t.Fatal("grow")
	}
	d.fails(abi.TOOBIG, "block_write", cid.Raw, 0, abi.MaxBlockWrite+1)
	d.want(0, "block_write", cid.Raw, 0, abi.MaxBlockWrite)
}
