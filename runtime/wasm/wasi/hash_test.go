package wasi

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// sameHash are two names with the same murmur3 hash.
var sameHash = [2]string{"two-names-that-have-one-hash-000", "SUKgyFUeH_MO0Y1TDjvZa#GzcpTY0N,z"}

// TestNamesOfOneHash checks that two names that cannot be in the same sharded directory are
// refused when the second is created, by every call and in directories of any size, and that
// /out is still stored.
func TestNamesOfOneHash(t *testing.T) {
	c := newCaller(t, Config{})
	a, b := "out/"+sameHash[0], "out/"+sameHash[1]
	create := func(path string) errno {
		fd, e := c.open(path, oCreat, rw)
		if e == eOK {
			e = c.close(fd)
		}
		return e
	}
	want(t, "create a", create(a), eOK)
	want(t, "create b beside a", create(b), eINVAL)
	want(t, "mkdir b", c.mkdir(b), eINVAL)
	want(t, "symlink b", c.symlink("x", b), eINVAL)
	_, e := c.stat(b, 0)
	want(t, "stat b", e, eNOENT)
	want(t, "create other", create("out/other"), eOK)
	want(t, "rename other to b", c.rename("out/other", b), eINVAL)
	want(t, "rename a to b", c.rename(a, b), eOK)
	want(t, "create a beside b", create(a), eINVAL)
	want(t, "rename b to itself", c.rename(b, b), eOK)
	want(t, "rename other over b", c.rename("out/other", b), eOK)
	want(t, "remove b", c.unlink(b), eOK)
	want(t, "create a again", create(a), eOK)

	want(t, "mkdir many", c.mkdir("out/many"), eOK)
	for i := range 6000 {
		if e := create(fmt.Sprint("out/many/a name of some length, so that it is sharded ", i)); e != eOK {
			t.Fatalf("file %d: errno %d", i, e)
		}
	}
	want(t, "create a beside many", create("out/many/"+sameHash[0]), eOK)
	want(t, "create b beside many", create("out/many/"+sameHash[1]), eINVAL)
	if got := c.names(t, "out"); !slices.Equal(got, []string{sameHash[0], "many"}) {
		t.Errorf("/out lists %q", got)
	}
	bs := new(dag.MemBlocks)
	root, err := c.s.FinishOut(t.Context(), bs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dag.Resolve(t.Context(), bs, dag.Path{Root: root.CID, Segments: []string{"many", sameHash[0]}}); err != nil {
		t.Error(err)
	}
}

// TestUnservedInput checks that a CID whose blocks cannot be checked is a fault of the input,
// on every machine.
func TestUnservedInput(t *testing.T) {
	bs := new(dag.MemBlocks)
	mh, err := multihash.Sum([]byte("x"), multihash.SHA1, -1)
	if err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) cid.Cid {
		b := dag.NewBlock(cid.DagProtobuf, data)
		if err := bs.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		return b.CID()
	}
	leaf, inner := cid.NewCidV1(cid.Raw, mh), cid.NewCidV1(cid.DagProtobuf, mh)
	file := put(pb([]byte{8, 2, 0x18, 4, 0x20, 4}, pbLink(leaf, "")))
	c := newCaller(t, Config{Blocks: bs, Inputs: []job.Input{
		{Name: "file", CID: file},
		{Name: "dir", CID: put(pb([]byte{8, 1}, pbLink(inner, "sub")))},
	}})
	fd, e := c.open("in/file", 0, rightRead)
	want(t, "open", e, eOK)
	_, e = c.read(fd, 4)
	want(t, "read", e, eIO)
	_, e = c.stat("in/dir/sub/x", 1)
	want(t, "stat", e, eIO)
}
