package wasm

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"lukechampine.com/blake3"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

func world(t testing.TB) *runtimetest.World { return runtimetest.NewWorld(shared(t)) }

const (
	memEnd = 2 * pageSize // of the driver
	far    = 1<<32 - 1
)

// TestCallsAreTheABI compares abi.Calls with what a guest can really import, and with
// the table in docs/abi.md.
func TestCallsAreTheABI(t *testing.T) {
	e := shared(t)
	rt, err := e.engine.runtime(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for name, typ := range rt.calls[abi.Module] {
		have[name] = typ.String()
	}
	want, rows := map[string]string{}, []string{}
	for _, c := range abi.Calls {
		var types, params, errs []string
		for _, p := range c.Params {
			name := map[abi.ValueType]string{abi.I32: "i32", abi.I64: "i64"}[p.Type]
			types, params = append(types, name), append(params, p.Name+" "+name)
		}
		for _, e := range c.Errors {
			errs = append(errs, e.String())
		}
		want[c.Name] = "(" + strings.Join(types, " ") + ") -> (i64)"
		rows = append(rows, fmt.Sprintf("`%s` | %s | %s", c.Name, strings.Join(params, ", "), strings.Join(errs, " ")))
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("abi.Calls and the host module differ: %s", diff)
	}
	if len(hostCalls) != len(abi.Calls) {
		t.Errorf("%d host calls, %d in abi.Calls", len(hostCalls), len(abi.Calls))
	}
	doc, err := os.ReadFile("../../docs/abi.md")
	if os.IsNotExist(err) {
		t.Skip("docs/abi.md is not there")
	}
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 4 || !strings.HasPrefix(strings.TrimSpace(cells[0]), "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		documented = append(documented, cells[0]+" | "+cells[1]+" | "+cells[len(cells)-1])
	}
	for _, row := range rows {
		found := false
		for _, d := range documented {
			found = found || d == row
		}
		if !found {
			t.Errorf("docs/abi.md has no row %s", row)
		}
	}
}

// TestHostilePointers gives every call that takes a range of memory one that is not the
// guest's own.
func TestHostilePointers(t *testing.T) {
	w := world(t)
	file := w.Add(t, []byte("content"))
	d := drive(t, w, nil, file, addBlock(t, w, cid.DagProtobuf, symlinkTo("target")).CID(), w.EmptyDir(t))
	writer := uint64(d.call("file_create"))
	ranges := [][2]uint64{{0, memEnd + 1}, {memEnd, 1}, {memEnd - 1, 2}, {1, far}, {far, far}, {far, 1}, {memEnd + 1, 0}}
	for _, p := range ranges {
		ptr, n := p[0], p[1]
		d.fails(abi.FAULT, "input_name", 0, ptr, n)
		d.fails(abi.FAULT, "args", ptr, n)
		d.fails(abi.FAULT, "env", ptr, n)
		d.fails(abi.FAULT, "cid", 0, ptr, n)
		d.fails(abi.FAULT, "block_read", 0, 0, ptr, n)
		d.fails(abi.FAULT, "block_write", cid.Raw, ptr, n)
		d.fails(abi.FAULT, "file_read", 0, 0, ptr, n)
		d.fails(abi.FAULT, "file_write", writer, ptr, n)
		d.fails(abi.FAULT, "child", 0, ptr, n)
		d.fails(abi.FAULT, "resolve", 0, ptr, n)
		d.fails(abi.FAULT, "dir_next", 2, 0, ptr, n)
		d.fails(abi.FAULT, "readlink", 1, ptr, n)
		d.fails(abi.FAULT, "output", 0, ptr, n)
		d.fails(abi.FAULT, "hash", multihash.SHA2_256, ptr, n, 0, 0)
		d.fails(abi.FAULT, "hash", multihash.SHA2_256, 0, 0, ptr, n)
		d.fails(abi.FAULT, "log", 0, ptr, n)
	}
	if d.run.count.used != 0 || d.run.made.used != 0 {
		t.Errorf("a call that failed left %d bytes of log and %d of output", d.run.count.used, d.run.made.used)
	}
}

// TestHostileHandles gives every call that takes a handle one that was never issued, one
// that is closed, and one of the wrong sort.
func TestHostileHandles(t *testing.T) {
	w := world(t)
	d := drive(t, w, nil, w.Add(t, []byte("a")), w.Add(t, []byte("b")))
	d.want(0, "close", 1)
	writer := uint64(d.call("file_create"))
	for _, h := range []uint64{1, 99, far, 1 << 31, writer} {
		for name, rest := range map[string]int{
			"cid": 2, "codec": 0, "kind": 0, "block_read": 3, "file_read": 3, "link_count": 0, "link": 1,
			"child": 2, "resolve": 2, "dir_next": 3, "readlink": 2,
		} {
			d.fails(abi.BADF, name, append([]uint64{h}, make([]uint64, rest)...)...)
		}
		if h == writer {
			continue
		}
		d.fails(abi.BADF, "output", h, 0, 0)
		d.fails(abi.BADF, "close", h)
	}
	for _, h := range []uint64{0, 1, 99} { // a readable one, a closed one, none
		d.fails(abi.BADF, "file_write", h, 0, 0)
		d.fails(abi.BADF, "file_finish", h)
	}
	d.want(0, "file_finish", writer)
	d.fails(abi.BADF, "file_finish", writer)
	d.fails(abi.BADF, "file_write", writer, 0, 0)
}

func TestHandlesAreNeverReused(t *testing.T) {
	w := world(t)
	d := drive(t, w, nil, w.Add(t, []byte("a")))
	for want := int64(1); want < 100; want++ {
		d.want(want, "file_create")
		d.want(0, "close", uint64(want))
	}
}

func TestHandleLimits(t *testing.T) {
	w := world(t)
	d := drive(t, w, nil, w.Add(t, []byte("a")))
	for range maxWriters {
		d.call("file_create")
	}
	d.fails(abi.MFILE, "file_create")
	d.want(0, "close", 1)
	d.want(maxWriters+1, "file_create")
	for n := maxWriters + 1; n < abi.MaxHandles; n++ {
		if got := d.call("resolve", 0, 0, 0); got != int64(n)+1 {
			t.Fatalf("handle %d, want %d", got, n+1)
		}
	}
	d.fails(abi.MFILE, "resolve", 0, 0, 0)
	d.fails(abi.MFILE, "block_write", cid.Raw, 0, 0)
	d.want(0, "close", 0)
	d.want(abi.MaxHandles+1, "block_write", cid.Raw, 0, 0)
}

func TestInputsAndWords(t *testing.T) {
	w := world(t)
	d := drive(t, w, func(task *job.Task) {
		task.In[0].Name = "corpus"
		task.Args = []string{"one", "", "three"}
		task.Env = map[string]string{"B": "2", "A": "1"}
	}, w.Add(t, []byte("a")), w.Add(t, []byte("b")))
	d.want(2, "input_count")
	d.want(6, "input_name", 0, 0, 4)
	if got := d.get(0, 6); got != "corp\x00\x00" {
		t.Errorf("name %q", got)
	}
	d.want(0, "input_name", 1, 0, 4)
	d.fails(abi.RANGE, "input_name", 2, 0, 4)
	d.fails(abi.RANGE, "input_name", far, 0, 4)
	d.want(11, "args", 0, 100)
	if got := d.get(0, 11); got != "one\x00\x00three\x00" {
		t.Errorf("args %q", got)
	}
	d.want(8, "env", 0, 100)
	if got := d.get(0, 8); got != "A=1\x00B=2\x00" {
		t.Errorf("env %q", got)
	}
}

func TestBlockRead(t *testing.T) {
	w := world(t)
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
			t.Errorf("block_read(%d, %d) gave %q, want %q", c.off, c.n, got, c.want)
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
	w := world(t)
	d := drive(t, w, nil, addBlock(t, w, cid.Raw, strings.Repeat("x", abi.MaxBlockRead+1)).CID())
	d.fails(abi.FORMAT, "block_read", 0, 0, 0, 1)
	d.fails(abi.FORMAT, "file_read", 0, 0, 0, 1)
}

func TestBlockWrite(t *testing.T) {
	w := world(t)
	in := w.Add(t, []byte("in"))
	unseen := addBlock(t, w, cid.Raw, "a block that the store has and the guest was not given").CID()
	absent := dag.NewBlock(cid.Raw, []byte("a block that nobody has")).CID()
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
		{"link to a block here", cid.DagCBOR, cborLinks(unseen), -int64(abi.NOLINK)},
		{"link to a block nowhere", cid.DagCBOR, cborLinks(absent), -int64(abi.NOLINK)},
		{"one good link, one bad", cid.DagCBOR, cborLinks(in, unseen), -int64(abi.NOLINK)},
		{"identity CID around a link", cid.DagCBOR, cborLinks(identity(t, cborLinks(in))), -int64(abi.NOLINK)},
		{"another codec", cid.GitRaw, "x", -int64(abi.CODEC)},
		{"a codec that wraps", far, "x", -int64(abi.CODEC)},
		{"dag-pb that is none", cid.DagProtobuf, "\xff\xff", -int64(abi.FORMAT)},
		{"dag-cbor with a rest", cid.DagCBOR, "\xf6\xf6", -int64(abi.FORMAT)},
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
	w := world(t)
	d := drive(t, w, nil)
	if _, ok := d.mod.Memory().Grow(32); !ok {
		t.Fatal("grow")
	}
	d.fails(abi.TOOBIG, "block_write", cid.Raw, 0, abi.MaxBlockWrite+1)
	d.want(0, "block_write", cid.Raw, 0, abi.MaxBlockWrite)
}

func TestFileRead(t *testing.T) {
	w := world(t)
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
			t.Errorf("file_read(%d, %d) gave other bytes", c.off, c.n)
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
	w := world(t)
	d := drive(t, w, nil)
	ptr, n := d.put(0, "hello ")
	d.want(0, "file_create")
	d.want(6, "file_write", 0, ptr, n)
	d.want(12, "file_write", 0, ptr, n)
	d.want(12, "file_write", 0, ptr, 0)
	d.put(0, "XXXXXX") // what was written is the host's
	d.want(0, "file_finish", 0)
	d.want(12, "file_read", 0, 0, 0, 100)
	if got := d.get(0, 12); got != "hello hello " {
		t.Errorf("read back %q", got)
	}
	if want := w.Add(t, []byte("hello hello ")); d.call("cid", 0, 0, 100) != 36 || d.get(0, 36) != want.KeyString() {
		t.Errorf("the file is not %s", want)
	}
}

// identity is a CID that holds data itself.
func identity(t testing.TB, data string) cid.Cid {
	t.Helper()
	mh, err := multihash.Sum([]byte(data), multihash.IDENTITY, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.DagCBOR, mh)
}

func TestLinks(t *testing.T) {
	w := world(t)
	leaf := addBlock(t, w, cid.Raw, "leaf")
	gone := dag.NewBlock(cid.Raw, []byte("not here"))
	sha1, err := multihash.Sum([]byte("x"), multihash.SHA1, -1)
	if err != nil {
		t.Fatal(err)
	}
	exotic := cid.NewCidV1(cid.Raw, sha1)
	inner := identity(t, cborLinks())
	root := addBlock(t, w, cid.DagCBOR, cborLinks(leaf.CID(), gone.CID(), exotic, inner, leaf.CID()))
	d := drive(t, w, nil, root.CID(), addBlock(t, w, cid.GitRaw, "no links that anyone knows").CID(), addBlock(t, w, cid.DagCBOR, "\xff").CID())

	d.want(5, "link_count", 0)
	d.want(3, "link", 0, 0)
	d.want(4, "block_read", 3, 0, 0, 4)
	d.want(4, "link", 0, 1) // it is not here: a handle all the same
	d.fails(abi.CODEC, "link", 0, 2)
	d.want(5, "link", 0, 3)
	d.want(1, "block_read", 5, 0, 0, 0)
	d.fails(abi.RANGE, "link", 0, 5)
	d.fails(abi.RANGE, "link", 0, far)
	d.want(0, "link_count", 3)

	// "Does the host have this CID?" has one answer.
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

	// What is not here ends the run when it is read, and the guest never sees it.
	_, err = d.try("block_read", 4, 0, 0, 1)
	var missing *dag.NotFoundError
	if !errors.As(err, &missing) || missing.CID != gone.CID() {
		t.Errorf("error %v, want one that says that %s is not here", err, gone.CID())
	}
}

// TestMalformedBlocks reads blocks that are not what their codec says: every call answers
// FORMAT or that it is another kind of thing, and none ends the run.
func TestMalformedBlocks(t *testing.T) {
	for name, b := range map[string]struct {
		codec uint64
		data  string
	}{
		"empty cbor": {cid.DagCBOR, ""}, "cut cbor": {cid.DagCBOR, "\x82\x01"}, "cbor with a rest": {cid.DagCBOR, "\xa0\x00"},
		"cbor bomb": {cid.DagCBOR, "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"}, "deep cbor": {cid.DagCBOR, strings.Repeat("\x81", 100_000)},
		"cbor map bomb": {cid.DagCBOR, "\xbb\xff\xff\xff\xff\xff\xff\xff\xff"},
		"empty pb":      {cid.DagProtobuf, ""}, "cut pb": {cid.DagProtobuf, "\x0a\x05\x08"}, "pb garbage": {cid.DagProtobuf, "\xff\xff\xff\xff"},
		"pb of an unknown type": {cid.DagProtobuf, "\x0a\x02\x08\x09"}, "huge file": {cid.DagProtobuf, "\x0a\x0b\x08\x02\x18\xff\xff\xff\xff\xff\xff\xff\x7f"},
		"shard of no fanout": {cid.DagProtobuf, "\x0a\x04\x08\x05\x12\x00"},
		"unknown codec":      {cid.GitRaw, "x"}, "libp2p key": {0x72, "x"},
	} {
		w := world(t)
		d := drive(t, w, nil, addBlock(t, w, b.codec, b.data).CID())
		ptr, n := d.put(0, "0/1")
		for call, args := range map[string][]uint64{
			"kind": {0}, "link_count": {0}, "link": {0, 0}, "file_read": {0, 0, 0, 10}, "resolve": {0, ptr, n},
			"dir_next": {0, 0, 0, 10}, "readlink": {0, 0, 10}, "block_read": {0, 0, 0, 10},
		} {
			if _, err := d.try(call, args...); err != nil {
				t.Errorf("%s of %s ends the run: %v", call, name, err)
			}
		}
	}
}

// symlinkTo is the block of a symlink.
func symlinkTo(target string) string {
	fs := cat([]byte{0x08, 4, 0x12, byte(len(target))}, []byte(target))
	return string(cat([]byte{0x0a, byte(len(fs))}, fs))
}

// directory makes a directory of names, each a file that holds its name.
func directory(t testing.TB, w *runtimetest.World, names ...string) cid.Cid {
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
	w := world(t)
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
			t.Errorf("resolve(%d, %q) leads to %q", c.h, c.path, got)
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
	w := world(t)
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
	d.want(1, "dir_next", 0, 0, 0, 2) // no room: what fits
	if got := d.get(0, 8); got != "\x01\x00......" {
		t.Errorf("dir_next wrote %q into 2 bytes", got)
	}
}

func TestHash(t *testing.T) {
	d := drive(t, world(t), nil)
	ptr, n := d.put(0, "some bytes")
	s2, s5, b3 := sha256.Sum256([]byte("some bytes")), sha512.Sum512([]byte("some bytes")), blake3.Sum256([]byte("some bytes"))
	for code, want := range map[uint64]string{multihash.SHA2_256: string(s2[:]), multihash.SHA2_512: string(s5[:]), multihash.BLAKE3: string(b3[:])} {
		d.want(int64(len(want)), "hash", code, ptr, n, 100, 64)
		if got := d.get(100, uint32(len(want))); got != want {
			t.Errorf("hash %x: %x", code, got)
		}
		d.want(int64(len(want)), "hash", code, ptr, n, 0, 0)
	}
	d.want(32, "hash", multihash.SHA2_256, ptr, n, ptr, 32) // onto itself
	if got := d.get(0, 32); got != string(s2[:]) {
		t.Errorf("hash onto its own bytes: %x", got)
	}
	d.fails(abi.CODEC, "hash", multihash.MD5, ptr, n, 0, 0)
	d.fails(abi.CODEC, "hash", far, ptr, n, 0, 0)
}

func TestOutputPaths(t *testing.T) {
	w := world(t)
	in := w.Add(t, []byte("in"))
	d := drive(t, w, nil, in)
	out := func(name string) int64 {
		ptr, n := d.put(0, name)
		return d.call("output", 0, ptr, n)
	}
	for _, name := range []string{
		"/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\x00b", "\xff", "a/\xff/b",
		strings.Repeat("n", 256), strings.Repeat("a/", 256) + "a", strings.Repeat("a", 4097),
	} {
		if got := out(name); got != -int64(abi.INVAL) {
			t.Errorf("output(%.20q) = %s, want INVAL", name, answer(got))
		}
	}
	for _, c := range []struct {
		name string
		want int64
	}{
		{"a/b", 0},
		{"a/c", 0},
		{"a/b", -int64(abi.INVAL)},
		{"a", -int64(abi.INVAL)},
		{"a/b/c", -int64(abi.INVAL)},
		{"", -int64(abi.INVAL)},
		{"z", 0},
		{strings.Repeat("n", 255), 0},
		{"\u00e9\u6f22\u5b57 \n\x1b[31m", 0},
	} {
		if got := out(c.name); got != c.want {
			t.Errorf("output(%.20q) = %s, want %s", c.name, answer(got), answer(c.want))
		}
	}
	sole := drive(t, w, nil, in)
	sole.want(0, "output", 0, 0, 0)
	sole.fails(abi.INVAL, "output", 0, 0, 0)
	ptr, n := sole.put(0, "a")
	sole.fails(abi.INVAL, "output", 0, ptr, n)
}

// TestOutputIsOrdered builds one tree in two orders, with a writer that output finishes
// and handles that are closed before the end.
func TestOutputIsOrdered(t *testing.T) {
	w := world(t)
	in := directory(t, w, "x", "y")
	root := func(names ...string) cid.Cid {
		d := drive(t, w, nil, in)
		for _, name := range names {
			h := uint64(0)
			if strings.HasPrefix(name, "new") {
				h = uint64(d.call("file_create"))
				ptr, n := d.put(0, "written")
				d.call("file_write", h, ptr, n)
			}
			ptr, n := d.put(0, name)
			d.want(0, "output", h, ptr, n)
			if h != 0 {
				d.want(0, "close", h)
			}
		}
		res, err := d.run.result(in, ending{state: job.OK})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Refs) != 1 || res.Refs[0] != in {
			t.Errorf("refs %v, want the input", res.Refs)
		}
		return res.Outcome.Root
	}
	a, b := root("d/e/f", "a", "new/1", "b"), root("b", "new/1", "a", "d/e/f")
	if a != b {
		t.Errorf("the order of output changes the root: %s, %s", a, b)
	}
	if got := w.File(t, w.At(t, a, "new", "1")); got != "written" {
		t.Errorf("new/1 holds %q", got)
	}
	if got := w.At(t, a, "d", "e", "f"); got != in {
		t.Errorf("d/e/f is %s", got)
	}
}

func TestOutputOfWASICommand(t *testing.T) {
	w := world(t)
	d := drive(t, w, nil, w.Add(t, []byte("in")))
	d.run.task.ABI = job.ABIWASI
	d.fails(abi.STATE, "output", 0, 0, 0)
}

func TestQuotas(t *testing.T) {
	quota := func(err error) int {
		var q *runtime.QuotaError
		if !errors.As(err, &q) {
			t.Errorf("error %v is no quota", err)
			return 0
		}
		return q.Code
	}
	w := world(t)
	w.Limits = job.Limits{Out: 3 * minCharge, Log: 10}
	in := w.Add(t, []byte("in"))

	d := drive(t, w, nil, in)
	ptr, n := d.put(0, "0123456789")
	if _, err := d.try("log", 0, ptr, n); quota(err) != job.QuotaLog {
		t.Errorf("log: %v", err)
	}
	d.want(0, "log", 0, ptr, n-1)

	for i := range 3 {
		d.put(0, fmt.Sprint(i))
		d.want(int64(i)+1, "block_write", cid.Raw, 0, 10)
		d.want(0, "close", uint64(i)+1)
	}
	d.want(4, "block_write", cid.Raw, 0, 10) // the same block is free
	d.put(0, "another")
	if _, err := d.try("block_write", cid.Raw, 0, 10); quota(err) != job.QuotaOut {
		t.Errorf("block_write: %v", err)
	}

	// Names cost, too.
	names := drive(t, w, nil, in)
	ptr, n = names.put(0, "a/b/c/d")
	if _, err := names.try("output", 0, ptr, n); quota(err) != job.QuotaOut {
		t.Errorf("output: %v", err)
	}
}

func TestLog(t *testing.T) {
	w := world(t)
	d := drive(t, w, nil)
	var live bytes.Buffer
	d.run.stderr.live = &live
	ptr, n := d.put(0, "line\x1b[31m")
	d.want(0, "log", 1, ptr, n)
	d.want(0, "log", far, ptr, 0)
	c, err := d.run.stderr.finish()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := w.File(t, c), "line\x1b[31m\n\n"; got != want || live.String() != want {
		t.Errorf("stored %q, live %q", got, &live)
	}
}

// TestOutputOfInput attaches inputs under names: the directory is the one that adding
// the same files and directories would have made, sizes included.
func TestOutputOfInput(t *testing.T) {
	w := world(t)
	file, err := dag.AddFile(t.Context(), &w.Blocks, bytes.NewReader(make([]byte, 3<<20)), dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	inner := dag.NewDirWriter(&w.Blocks, dag.UnixFSv1)
	if err := inner.Add("f", file); err != nil {
		t.Fatal(err)
	}
	dir, err := inner.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := dag.AddFile(t.Context(), &w.Blocks, strings.NewReader("leaf"), dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	d := drive(t, w, nil, file.CID, dir.CID, leaf.CID)
	want := dag.NewDirWriter(&w.Blocks, dag.UnixFSv1)
	for h, e := range []dag.Entry{file, dir, leaf} {
		name := string(rune('a' + h))
		ptr, n := d.put(0, name)
		d.want(0, "output", uint64(h), ptr, n)
		if err := want.Add(name, e); err != nil {
			t.Fatal(err)
		}
	}
	root, err := want.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.run.root(ending{state: job.OK})
	if err != nil || got != root.CID {
		t.Errorf("root %s (%v), want %s", got, err, root.CID)
	}
}
