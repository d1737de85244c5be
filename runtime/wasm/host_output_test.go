package wasm

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

func TestOutputPaths(t *testing.T) {
	w := newHarness(t)
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

// TestOutputIsOrdered builds the same tree in two orders, with a writer that output finishes
// and handles that are closed before the end.
func TestOutputIsOrdered(t *testing.T) {
	w := newHarness(t)
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
		t.Errorf("root depends on the order of output: %s, %s", a, b)
	}
	if got := w.File(t, w.At(t, a, "new", "1")); got != "written" {
		t.Errorf("new/1: got %q", got)
	}
	if got := w.At(t, a, "d", "e", "f"); got != in {
		t.Errorf("d/e/f: got %s", got)
	}
}

func TestOutputOfWASICommand(t *testing.T) {
	w := newHarness(t)
	d := drive(t, w, nil, w.Add(t, []byte("in")))
	d.run.task.ABI = job.ABIWASI
	d.fails(abi.STATE, "output", 0, 0, 0)
}

func TestQuotas(t *testing.T) {
	quota := func(err error) int {
		var q *runtime.QuotaError
		if !errors.As(err, &q) {
			t.Errorf("error %v, want a quota error", err)
			return 0
		}
		return q.Code
	}
	w := newHarness(t)
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

	// Names are charged, too.
	names := drive(t, w, nil, in)
	ptr, n = names.put(0, "a/b/c/d")
	if _, err := names.try("output", 0, ptr, n); quota(err) != job.QuotaOut {
		t.Errorf("output: %v", err)
	}
}

// TestOutputOfInput attaches inputs under names: the result is the directory that adding the
// same files and directories would have made, sizes included.
func TestOutputOfInput(t *testing.T) {
	w := newHarness(t)
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
