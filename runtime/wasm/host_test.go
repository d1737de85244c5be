package wasm

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

func newHarness(t testing.TB) *runtimetest.Harness { return runtimetest.NewHarness(shared(t)) }

const (
	memEnd = 2 * pageSize // size of the driver's memory
	far    = 1<<32 - 1
)

// TestCallsAreTheABI compares abi.Calls with what a guest can import, and with the table in
// docs/abi.md.
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
		t.Skip("docs/abi.md not found")
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
			t.Errorf("docs/abi.md: missing row %s", row)
		}
	}
}

// TestHostilePointers passes a range outside of the guest's memory to every call that takes
// one.
func TestHostilePointers(t *testing.T) {
	w := newHarness(t)
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
		t.Errorf("failed calls left %d bytes of log and %d of output", d.run.count.used, d.run.made.used)
	}
}

// TestHostileHandles passes a handle that was never issued, a closed one, and one of the wrong
// kind to every call that takes one.
func TestHostileHandles(t *testing.T) {
	w := newHarness(t)
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
	for _, h := range []uint64{0, 1, 99} { // readable, closed, never issued
		d.fails(abi.BADF, "file_write", h, 0, 0)
		d.fails(abi.BADF, "file_finish", h)
	}
	d.want(0, "file_finish", writer)
	d.fails(abi.BADF, "file_finish", writer)
	d.fails(abi.BADF, "file_write", writer, 0, 0)
}

func TestHandlesAreNeverReused(t *testing.T) {
	w := newHarness(t)
	d := drive(t, w, nil, w.Add(t, []byte("a")))
	for want := int64(1); want < 100; want++ {
		d.want(want, "file_create")
		d.want(0, "close", uint64(want))
	}
}

func TestHandleLimits(t *testing.T) {
	w := newHarness(t)
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
	w := newHarness(t)
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
