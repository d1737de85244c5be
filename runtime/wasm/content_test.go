package wasm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// sameHash are two names with the same murmur3 hash.
var sameHash = [2]string{"two-names-that-have-one-hash-000", "SUKgyFUeH_MO0Y1TDjvZa#GzcpTY0N,z"}

// pbField is a length-delimited field of a protobuf message.
func pbField(number byte, data string) string {
	if len(data) < 0x80 {
		return string([]byte{number<<3 | 2, byte(len(data))}) + data
	}
	return string([]byte{number<<3 | 2, byte(len(data)) | 0x80, byte(len(data) >> 7)}) + data
}

// pbLink is a link of a dag-pb block, with a Tsize of n bytes of varint.
func pbLink(c cid.Cid, name, tsize string) string {
	link := pbField(1, c.KeyString()) + pbField(2, name)
	if tsize != "" {
		link += "\x18" + tsize
	}
	return pbField(2, link)
}

// unserved returns a CID with a hash function that is not supported, so that no block can be
// checked against it.
func unserved(t testing.TB) cid.Cid {
	t.Helper()
	mh, err := multihash.Sum([]byte("x"), multihash.SHA1, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.Raw, mh)
}

const varint64 = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" // 2^64-1

// TestOutputOfMalformed attaches blocks that are not valid for their codec or UnixFS. Naming a
// block that dag-pb cannot describe is an errno; other blocks are linked unchanged.
func TestOutputOfMalformed(t *testing.T) {
	w := newHarness(t)
	leaf := w.Add(t, []byte("leaf"))
	sub := func(s string) string { return pbField(1, s) }
	for name, c := range map[string]struct {
		data string
		want abi.Errno // for an output with a name
	}{
		"garbage":             {"\xff\xff\xff\xff", abi.FORMAT},
		"cut":                 {"\x0a\x05\x08", abi.FORMAT},
		"wrong wire type":     {"\x08\x01", abi.FORMAT},
		"unknown field":       {"\x1a\x00", abi.FORMAT},
		"two Data":            {"\x0a\x00\x0a\x00", abi.FORMAT},
		"link without CID":    {pbField(2, pbField(2, "n")), abi.FORMAT},
		"bad CID":             {pbField(2, pbField(1, "\x09\x09")), abi.FORMAT},
		"name before CID":     {pbField(2, pbField(2, "n")+pbField(1, leaf.KeyString())), abi.FORMAT},
		"Tsize of 11 bytes":   {pbLink(leaf, "n", "\xff"+varint64), abi.FORMAT},
		"Tsize of text":       {pbField(2, pbField(1, leaf.KeyString())+pbField(3, "1")), abi.FORMAT},
		"links unsorted":      {pbLink(leaf, "b", "\x04") + pbLink(leaf, "a", "\x04") + sub("\x08\x01"), 0},
		"Tsize of 2^64-1":     {pbLink(leaf, "a", varint64) + pbLink(leaf, "b", varint64) + sub("\x08\x01"), 0},
		"no UnixFS":           {sub("\xff\xff"), 0},
		"unknown UnixFS type": {sub("\x08\x09"), 0},
		"shard of no fanout":  {sub("\x08\x05\x12\x00"), 0},
		"wrong file size":     {pbLink(leaf, "", "\x04") + sub("\x08\x02\x18\x64\x20\x64"), 0},
	} {
		b := addBlock(t, w, cid.DagProtobuf, c.data)
		d := drive(t, w, nil, b.CID(), leaf)
		ptr, n := d.put(0, "good/name")
		d.want(0, "output", 1, ptr, n)
		ptr, n = d.put(0, "a/name")
		if got := d.call("output", 0, ptr, n); got != -int64(c.want) {
			t.Errorf("%s: output with a name = %s, want %s", name, answer(got), answer(-int64(c.want)))
		}
		res, err := d.run.result(leaf, ending{state: job.OK})
		if err != nil || res.Outcome.State != job.OK {
			t.Errorf("%s: %+v, %v", name, res.Outcome, err)
		}
		if got := w.At(t, res.Outcome.Root, "good", "name"); got != leaf {
			t.Errorf("%s: good/name is %s", name, got)
		}
		sole := drive(t, w, nil, b.CID())
		sole.want(0, "output", 0, 0, 0)
		if res, err := sole.run.result(leaf, ending{state: job.OK}); err != nil || res.Outcome.Root != b.CID() {
			t.Errorf("%s as the root: %+v, %v", name, res.Outcome, err)
		}
	}
}

// TestOutputNearLimit has an output that exceeds the limit and, among its names, a malformed
// block: whatever the order of Go's maps, all runs have the same Outcome.
func TestOutputNearLimit(t *testing.T) {
	w := newHarness(t)
	w.Limits.Out = 100 * minCharge
	in := w.Add(t, []byte("in"))
	bad := addBlock(t, w, cid.DagProtobuf, "\xff\xff").CID()
	id := w.EmptyDir(t)
	var first cid.Cid
	for range 200 {
		d := drive(t, w, nil, in, bad)
		for i := range 45 { // each has two names and a directory block
			ptr, n := d.put(0, fmt.Sprintf("directory-%d/file-%d", i, i))
			d.want(0, "output", 0, ptr, n)
			if i == 20 {
				ptr, n = d.put(0, "bad")
				d.call("output", 1, ptr, n)
			}
		}
		res, err := d.run.result(id, ending{state: job.OK})
		if err != nil {
			t.Fatal(err)
		}
		got, err := res.Outcome.CID()
		if err != nil {
			t.Fatal(err)
		}
		if !first.Defined() {
			first = got
		}
		if got != first || res.Outcome.State != job.Quota {
			t.Fatalf("outcome %+v differs from earlier runs", res.Outcome)
		}
	}
}

// TestOutputOfOneHash attaches two names that cannot be in the same directory, next to
// thousands of others: the second is refused at once.
func TestOutputOfOneHash(t *testing.T) {
	w := newHarness(t)
	d := drive(t, w, nil, w.Add(t, []byte("in")))
	output := func(name string) int64 {
		ptr, n := d.put(0, name)
		return d.call("output", 0, ptr, n)
	}
	for i := range 6000 {
		if got := output(fmt.Sprintf("many/a name of some length, so that the directory is sharded %d", i)); got != 0 {
			t.Fatal(answer(got))
		}
	}
	for _, c := range []struct {
		name string
		want abi.Errno
	}{
		{"many/" + sameHash[0], 0},
		{"many/" + sameHash[1], abi.INVAL},
		{"few/" + sameHash[1] + "/x", 0},
		{"few/" + sameHash[0] + "/x", abi.INVAL},
		{"few/" + sameHash[0], abi.INVAL},
		{"few/" + sameHash[1] + "/y", 0},
		{sameHash[0] + "/" + sameHash[1], 0},
	} {
		if got := output(c.name); got != -int64(c.want) {
			t.Errorf("output(%q) = %s, want %s", c.name, answer(got), answer(-int64(c.want)))
		}
	}
	if _, err := d.run.root(ending{state: job.OK}); err != nil {
		t.Error(err)
	}
}

// TestUnservedLinks reads below links whose blocks cannot be checked: on every machine that is
// a fault of the content, and not a missing block.
func TestUnservedLinks(t *testing.T) {
	w := newHarness(t)
	c := unserved(t)
	pb := cid.NewCidV1(cid.DagProtobuf, c.Hash())
	file := addBlock(t, w, cid.DagProtobuf, pbLink(c, "", "\x04")+pbField(1, "\x08\x02\x18\x04\x20\x04")).CID()
	dir := addBlock(t, w, cid.DagProtobuf, pbLink(pb, "sub", "\x04")+pbField(1, "\x08\x01")).CID()
	d := drive(t, w, nil, file, dir)
	d.fails(abi.FORMAT, "file_read", 0, 0, 0, 4)
	ptr, n := d.put(0, "sub/x")
	d.fails(abi.FORMAT, "resolve", 1, ptr, n)
}

// TestFullCBORResolves follows a path through a dag-cbor block of the largest size, with as
// many items as fit.
func TestFullCBORResolves(t *testing.T) {
	w := newHarness(t)
	leaf := w.Add(t, []byte("leaf"))
	link := cborLinks(leaf)[1:]
	items := abi.MaxBlockRead - 5 - len(link) + 1
	head := []byte{0x9a, byte(items >> 24), byte(items >> 16), byte(items >> 8), byte(items)}
	b := addBlock(t, w, cid.DagCBOR, string(head)+strings.Repeat("\x00", items-1)+link)
	d := drive(t, w, nil, b.CID())
	ptr, n := d.put(0, fmt.Sprint(items-1))
	h := d.call("resolve", 0, ptr, n)
	if h < 0 {
		t.Fatalf("resolve = %s", answer(h))
	}
	d.want(4, "file_read", uint64(h), 0, 0, 10)
	ptr, n = d.put(0, fmt.Sprint(items))
	d.fails(abi.NOENT, "resolve", 0, ptr, n)
}

// TestMissingIsNotContent distinguishes a missing block, which ends the run, from a malformed
// one in the same place.
func TestMissingIsNotContent(t *testing.T) {
	w := newHarness(t)
	gone := dag.NewBlock(cid.DagProtobuf, []byte("\xff not here")).CID()
	d := drive(t, w, nil, gone)
	ptr, n := d.put(0, "name")
	_, err := d.try("output", 0, ptr, n)
	var missing *dag.NotFoundError
	var refused *runtime.RefusedError
	if !errors.As(err, &missing) || errors.As(err, &refused) {
		t.Errorf("error %v, want one that names the missing block", err)
	}
}
