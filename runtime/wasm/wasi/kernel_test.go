package wasi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// TestFunctions compares the names and types of our functions with those of another
// implementation.
func TestFunctions(t *testing.T) {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	theirs, err := wasi_snapshot_preview1.NewBuilder(r).Compile(ctx)
	if err != nil {
		t.Fatal(err)
	}
	exports := theirs.ExportedFunctions()
	for _, f := range functions {
		def, ok := exports[f.name]
		if !ok || !bytes.Equal(def.ParamTypes(), f.params) {
			t.Errorf("%s: parameters: got %v", f.name, f.params)
		}
		delete(exports, f.name)
	}
	for name := range exports {
		t.Errorf("missing function %s", name)
	}
}

// TestHostilePointers calls every function with pointers outside the memory and with no memory
// at all: each returns and neither faults nor ends the run.
func TestHostilePointers(t *testing.T) {
	c := newCaller(t, Config{})
	c.mkdir("out/d")
	for _, hostile := range []uint64{math.MaxUint32, math.MaxUint32 - 7, math.MaxUint64, 4 << 16, 4<<16 - 1, 0x2000_0000, 1 << 31} {
		for _, fd := range []uint64{0, 1, 3, hostile} {
			for _, f := range functions {
				p := slices.Repeat([]uint64{hostile}, len(f.params))
				if slices.Contains([]string{"fd_close", "fd_renumber", "proc_exit", "sched_yield"}, f.name) {
					continue
				}
				p[0] = fd
				for _, m := range []memory{c.m, {}} {
					if e := f.call(context.Background(), c.s, m, p); e == eOK && m.Memory == nil &&
						!slices.Contains([]string{"fd_sync", "fd_datasync", "fd_advise"}, f.name) {
						t.Errorf("%s%x without a memory succeeded", f.name, p)
					}
				}
			}
		}
	}
	p, n := c.put(pathAt, "out/f")
	want(t, "a result outside of the memory", c.call("path_open", rootFD, 1, p, n, oCreat, rw, 0, 0, 4<<16), eFAULT)
	if names := c.names(t, "out"); len(names) != 1 {
		t.Errorf("a call with EFAULT created %v", names)
	}
	want(t, "too many iovecs", c.call("fd_write", 1, iovAt, maxIovecs+1, outAt), eINVAL)
	want(t, "a count that wraps", c.call("fd_write", 1, iovAt, 0x2000_0000, outAt), eINVAL)
	want(t, "subscriptions that wrap", c.call("poll_oneoff", 0, 0, 0x0555_5556, outAt), eFAULT)
}

func TestListingWhileItChanges(t *testing.T) {
	c := newCaller(t, Config{})
	for i := range 100 {
		c.create(t, fmt.Sprintf("out/%d", i), "")
	}
	fd, _ := c.open("out", oDirectory, 0)
	all, _ := c.list(fd, 0, 300)
	if len(all) != 102 {
		t.Fatalf("%d entries", len(all))
	}
	middle := all[51].cookie
	for i := range 100 {
		if i != 10 && i != 60 {
			want(t, "unlink", c.unlink(fmt.Sprintf("out/%d", i)), eOK)
		}
	}
	c.create(t, "out/new", "")
	rest, e := c.list(fd, middle, 300)
	want(t, "list on", e, eOK)
	if len(rest) != 2 || rest[0].name != "60" || rest[1].name != "new" {
		t.Errorf("entries after the middle: %v", rest)
	}
	if e := c.call("fd_readdir", uint64(fd), dataAt, 300, math.MaxUint64, outAt); e != eOK || c.out32() != 0 {
		t.Errorf("unknown cookie: errno %d, %d bytes", e, c.out32())
	}
	c.create(t, "out/10", "again")
	if names := c.names(t, "out"); !slices.Equal(names, []string{"10", "60", "new"}) {
		t.Errorf("%v", names)
	}
}

func TestDescriptors(t *testing.T) {
	c := newCaller(t, Config{})
	c.create(t, "out/f", "one")
	c.create(t, "out/g", "two")
	f, _ := c.open("out/f", 0, rw)
	g, _ := c.open("out/g", 0, rw)
	if f != 4 || g != 5 {
		t.Fatalf("descriptors %d and %d", f, g)
	}
	want(t, "renumber", c.call("fd_renumber", uint64(f), uint64(g)), eOK)
	if s, e := c.read(g, 9); s != "one" || e != eOK {
		t.Errorf("%q, %d", s, e)
	}
	_, e := c.read(f, 9)
	want(t, "the old number", e, eBADF)
	want(t, "renumber from nothing", c.call("fd_renumber", 9, 5), eBADF)
	want(t, "renumber to no number", c.call("fd_renumber", 5, 1<<30), eBADF)
	want(t, "renumber to a high one", c.call("fd_renumber", 5, maxOpen-1), eOK)
	if n, _ := c.open("out/f", 0, rightRead); n != 4 {
		t.Errorf("lowest free number: got %d", n)
	}
	want(t, "close twice", either(c.close(4), c.close(4)), eBADF)
	if c.s.fds.used != 5 {
		t.Errorf("descriptor count: got %d", c.s.fds.used)
	}
	want(t, "close of all", either(c.close(0), c.close(3)), eOK)
	_, e = c.open("out/f", 0, rightRead)
	want(t, "open below a closed preopen", e, eBADF)
}

// either returns the first nonzero errno.
func either(a, b errno) errno {
	if a != eOK {
		return a
	}
	return b
}

func TestRemovedDirectory(t *testing.T) {
	c := newCaller(t, Config{})
	c.mkdir("out/a")
	c.mkdir("out/a/b")
	fd, _ := c.open("out/a/b", oDirectory, 0)
	want(t, "rmdir", either(c.rmdir("out/a/b"), c.rmdir("out/a")), eOK)
	want(t, "mkdir in a removed directory", c.on("path_create_directory", fd, "x"), eNOENT)
	want(t, "mkdir above it", c.on("path_create_directory", fd, "../x"), eNOENT)
	list, e := c.list(fd, 0, 300)
	if len(list) != 2 || e != eOK {
		t.Errorf("%v, %d", list, e)
	}
}

func TestQuotaCountsBothSides(t *testing.T) {
	c := newCaller(t, Config{OutLimit: 100_000, TmpLimit: 100_000})
	out := func() uint64 { return c.s.out.q.used }
	c.create(t, "tmp/f", strings.Repeat("x", 10_000))
	want(t, "rename across", c.rename("tmp/f", "out/f"), eOK)
	if out() != 10_000+inodeCharge || c.s.tmpUse.used != 0 {
		t.Errorf("/out %d, /tmp %d", out(), c.s.tmpUse.used)
	}
	fd, _ := c.open("out/f", 0, rw)
	want(t, "shrink", c.truncate(fd, 100), eOK)
	want(t, "unlink", c.unlink("out/f"), eOK)
	if out() != 100+inodeCharge {
		t.Errorf("open file without a name: charged %d", out())
	}
	c.close(fd)
	c.mkdir("out/d")
	c.symlink("x", "out/l")
	if out() != 2*inodeCharge {
		t.Errorf("directory and link: charged %d", out())
	}
	want(t, "remove", either(c.rmdir("out/d"), c.unlink("out/l")), eOK)
	if out() != 0 || c.s.tree != 0 {
		t.Errorf("nothing left: charged %d, %d", out(), c.s.tree)
	}
	fd, _ = c.open("out/f", oCreat, rw)
	want(t, "exactly the limit", c.truncate(fd, 100_000-inodeCharge), eOK)
	err := ended(func() { c.pwrite(fd, "x", 100_000-inodeCharge) })
	var quota *runtime.QuotaError
	if !errors.As(err, &quota) || quota.Code != job.QuotaOut {
		t.Errorf("one byte more: %v", err)
	}
	c.create(t, "tmp/f", "")
	err = ended(func() { c.rename("tmp/f", "out/g") })
	if !errors.As(err, &quota) || quota.Code != job.QuotaOut {
		t.Errorf("one file more: %v", err)
	}
	want(t, "beyond every limit", c.truncate(fd, math.MaxInt64), eFBIG)
	_, e := c.pwrite(fd, "x", math.MaxInt64)
	want(t, "write beyond every limit", e, eFBIG)
	_, e = c.pwrite(fd, "x", -1)
	want(t, "write before the start", e, eINVAL)
}

// subscribe writes a subscription to a clock to memory.
func (c *caller) subscribe(i int, userdata uint64, kind byte, id uint32, timeout uint64, flags uint16) {
	b, _ := c.m.Read(uint32(dataAt+i*subscriptionSize), subscriptionSize)
	clear(b)
	le.PutUint64(b, userdata)
	b[8] = kind
	le.PutUint32(b[16:], id)
	le.PutUint64(b[24:], timeout)
	le.PutUint16(b[40:], flags)
}

// poll returns the events' userdata and errnos.
func (c *caller) poll(t *testing.T, n int) (events [][2]uint64) {
	t.Helper()
	want(t, "poll", c.call("poll_oneoff", dataAt, pathAt, uint64(n), outAt), eOK)
	b, _ := c.m.Read(pathAt, c.out32()*eventSize)
	for ; len(b) > 0; b = b[eventSize:] {
		events = append(events, [2]uint64{le.Uint64(b), uint64(le.Uint16(b[8:]))})
	}
	return events
}

func TestPoll(t *testing.T) {
	c := newCaller(t, Config{})
	const price = 3 * (subscriptionSize + eventSize) / abi.FuelCopyBytes // of a poll of three, also in ns
	start := c.s.clock.now(0)
	c.subscribe(0, 7, eventClock, 0, 5000, 0)
	c.subscribe(1, 8, eventClock, 1, start+price+3000, clockAbsolute)
	c.subscribe(2, 9, eventClock, 2, 3000, 0)
	if got := c.poll(t, 3); !cmp.Equal(got, [][2]uint64{{8, 0}, {9, 0}}) || c.s.clock.now(1) != start+price+3000 {
		t.Errorf("%v after %d", got, c.s.clock.now(1)-start)
	}
	c.subscribe(0, 7, eventClock, 0, 5000, 0)
	c.subscribe(1, 8, eventRead, 0, 0, 0)
	c.subscribe(2, 9, eventWrite, 44, 0, 0)
	c.subscribe(3, 10, eventClock, 99, 0, 0)
	c.subscribe(4, 11, 77, 0, 0, 0)
	wanted := [][2]uint64{{8, 0}, {9, uint64(eBADF)}, {10, uint64(eINVAL)}, {11, uint64(eINVAL)}}
	if got := c.poll(t, 5); !cmp.Equal(got, wanted) || c.s.clock.now(2) > start+4000 {
		t.Errorf("%v after %d", got, c.s.clock.now(2)-start)
	}
	c.subscribe(0, 7, eventClock, 0, math.MaxUint64, 0)
	if got := c.poll(t, 1); len(got) != 1 || c.s.clock.now(3) != math.MaxInt64 {
		t.Errorf("%v at %d", got, c.s.clock.now(3))
	}
	want(t, "clock at its end", c.call("clock_time_get", 1, 0, outAt), eOK)
	if c.out64() != math.MaxInt64 {
		t.Errorf("clock: got %d", c.out64())
	}
	want(t, "nothing to poll", c.call("poll_oneoff", 0, 0, 0, outAt), eINVAL)
	want(t, "no clock", c.call("clock_time_get", 4, 0, outAt), eINVAL)
	want(t, "socket", c.call("sock_send", 1, 0, 0, 0, outAt), eNOTSUP)
}

// pb encodes a dag-pb node of UnixFS data and links, valid or not.
func pb(data []byte, links ...[]byte) []byte {
	var b []byte
	for _, l := range links {
		b = append(append(b, 0x12, byte(len(l))), l...)
	}
	return append(append(b, 0x0a, byte(len(data))), data...)
}

func pbLink(c cid.Cid, name string) []byte {
	b := append([]byte{0x0a, byte(c.ByteLen())}, c.Bytes()...)
	return append(append(b, 0x12, byte(len(name))), name...)
}

func TestHostileInputs(t *testing.T) {
	bs := &dag.MemBlocks{}
	put := func(codec uint64, data []byte) cid.Cid {
		b := dag.NewBlock(codec, data)
		if err := bs.Put(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		return b.CID()
	}
	raw := put(cid.Raw, []byte("leaf"))
	var names [][]byte
	for _, n := range []string{"", ".", "..", "a/b", "nul\x00", "\xff", "good"} {
		names = append(names, pbLink(raw, n))
	}
	inputs := map[string]cid.Cid{
		"names":   put(cid.DagProtobuf, pb([]byte{8, 1}, names...)),
		"cbor":    put(cid.DagCBOR, []byte{0xa0}),
		"garbage": put(cid.DagProtobuf, []byte("\xff\xff")),
		"link":    put(cid.DagProtobuf, pb(append([]byte{8, 4, 0x12, 4}, "cbor"...))),
		"empty":   put(cid.DagProtobuf, pb([]byte{8, 4, 0x12, 0})),
		"wrong":   put(cid.DagProtobuf, pb([]byte{8, 2, 0x18, 100, 0x20, 100}, pbLink(raw, ""))),
		"shard":   put(cid.DagProtobuf, pb([]byte{8, 5, 0x28, 0x22, 0x30, 3})),
	}
	loops := put(cid.DagProtobuf, pb(append([]byte{8, 4, 0x12, 1}, "b"...)))
	back := put(cid.DagProtobuf, pb(append([]byte{8, 4, 0x12, 1}, "a"...)))
	inputs["loops"] = put(cid.DagProtobuf, pb([]byte{8, 1}, pbLink(loops, "a"), pbLink(back, "b"), pbLink(inputs["empty"], "e")))
	cfg := Config{Blocks: bs}
	for _, name := range []string{"names", "cbor", "garbage", "link", "empty", "wrong", "shard", "loops"} {
		cfg.Inputs = append(cfg.Inputs, job.Input{Name: name, CID: inputs[name]})
	}
	c := newCaller(t, cfg)
	if got := c.names(t, "in/names"); !slices.Equal(got, []string{"good"}) {
		t.Errorf("invalid names are listed: got %q", got)
	}
	if got := c.names(t, "in"); len(got) != len(inputs) {
		t.Errorf("/in: got %q", got)
	}
	for path, wanted := range map[string]errno{
		"in/link": eNOENT, "in/empty": eNOENT, "in/loops/a": eLOOP, "in/loops/e": eNOENT, "in/shard/x": eIO,
		"in/names/none": eNOENT, "in/cbor/x": eNOTDIR, "in/8": eNOENT, "in/names/../../in/names/good": eOK, "in/0/good": eOK,
	} {
		if _, e := c.stat(path, 1); e != wanted {
			t.Errorf("stat %s: errno %d, want %d", path, e, wanted)
		}
	}
	if got := c.content(t, "in/cbor"); got != "\xa0" {
		t.Errorf("CBOR block: got %q", got)
	}
	if got := c.content(t, "in/garbage"); got != "\xff\xff" {
		t.Errorf("garbage block: got %q", got)
	}
	fd, e := c.open("in/wrong", 0, rightRead)
	want(t, "open a file with a wrong size", e, eOK)
	_, e = c.read(fd, 100)
	want(t, "read a file with a wrong size", e, eIO)
	a, _ := c.stat("in/names", 1)
	b, _ := c.stat("in/0", 1)
	if a != b {
		t.Errorf("by name %+v, by index %+v", a, b)
	}
}

// TestManyInputsByTurns reads more files in turns than readers are kept.
func TestManyInputsByTurns(t *testing.T) {
	bs := &dag.MemBlocks{}
	cfg := Config{Blocks: bs}
	for i := range 2 * maxObjects {
		cfg.Inputs = append(cfg.Inputs, job.Input{CID: fileOf(t, bs, fmt.Sprintf("%04d%04d", i, i)).CID})
	}
	c := newCaller(t, cfg)
	var fds []uint32
	for i := range cfg.Inputs {
		fd, e := c.open(fmt.Sprintf("in/%d", i), 0, rightRead)
		want(t, "open", e, eOK)
		fds = append(fds, fd)
	}
	for range 2 {
		for i, fd := range fds {
			if s, e := c.read(fd, 4); e != eOK || s != fmt.Sprintf("%04d", i) {
				t.Fatalf("input %d: got %q, errno %d", i, s, e)
			}
		}
	}
	if n := c.s.inputs.objects.used.Len(); n != maxObjects {
		t.Errorf("readers: got %d", n)
	}
}

// TestContents checks that contents behave alike in memory and in scratch files, also when
// there are more of them than host files may be open.
func TestContents(t *testing.T) {
	s := &scratch{dir: t.TempDir()}
	var all []*content
	for i := range 3 * maxHostFiles {
		c := &content{s: s}
		c.writeAt([]byte("head"), 0)
		c.resize(uint64(smallContent + i))
		c.writeAt([]byte("tail"), c.size)
		all = append(all, c)
	}
	for i, c := range all {
		b := make([]byte, smallContent+i+100)
		if n := c.readAt(b, 0); n != smallContent+i+4 || string(b[:4]) != "head" || string(b[n-4:n]) != "tail" || b[n-5] != 0 {
			t.Fatalf("content %d: got %d bytes", i, n)
		}
	}
	if len(s.open) != maxHostFiles || s.inMemory != 0 {
		t.Errorf("%d host files, %d bytes in memory", len(s.open), s.inMemory)
	}
	for _, c := range all {
		c.free()
	}
	if len(s.open) != 0 {
		t.Errorf("%d host files", len(s.open))
	}
	var small []*content
	for range memoryContent/smallContent + 10 {
		c := &content{s: s}
		c.writeAt(bytes.Repeat([]byte("x"), smallContent), 0)
		c.resize(3)
		c.resize(10)
		b := make([]byte, 20)
		if n := c.readAt(b, 0); string(b[:n]) != "xxx\x00\x00\x00\x00\x00\x00\x00" {
			t.Fatalf("%q", b[:n])
		}
		small = append(small, c)
	}
	if s.inMemory > memoryContent {
		t.Errorf("%d bytes in memory", s.inMemory)
	}
	for _, c := range small {
		c.free()
	}
	if s.inMemory != 0 {
		t.Errorf("%d bytes in memory", s.inMemory)
	}
}

func TestFinishOut(t *testing.T) {
	ctx := context.Background()
	bs := &dag.MemBlocks{}
	c := newCaller(t, Config{})
	empty, err := c.s.FinishOut(ctx, bs)
	if err != nil || empty.CID != dirOf(t, bs, nil).CID {
		t.Errorf("empty /out: got %v, %v", empty.CID, err)
	}
	c.mkdir("out/d")
	c.create(t, "out/d/f", "text")
	c.symlink("f", "out/d/l")
	c.create(t, "out/Z", "")
	c.create(t, "out/a", "text")
	want(t, "rename", c.rename("out/a", "out/b"), eOK)
	got, err := c.s.FinishOut(ctx, bs)
	wanted := dirOf(t, bs, map[string]dag.Entry{
		"Z": fileOf(t, bs, ""), "b": fileOf(t, bs, "text"),
		"d": dirOf(t, bs, map[string]dag.Entry{"f": fileOf(t, bs, "text"), "l": linkOf(t, bs, "f")}),
	})
	if err != nil || got.CID != wanted.CID {
		t.Errorf("/out: got %v, want %v; %v", got.CID, wanted.CID, err)
	}
}

// TestNamesAreBounded checks that the host's memory for names is bounded, whatever the run's
// limits.
func TestNamesAreBounded(t *testing.T) {
	c := newCaller(t, Config{OutLimit: math.MaxUint64})
	target, made := strings.Repeat("x", 4096), 0
	c.s.tree = maxTree - 1<<20
	err := ended(func() {
		for ; made < 1<<20; made++ {
			want(t, "symlink", c.symlink(target, fmt.Sprint("out/", made)), eOK)
		}
	})
	var quota *runtime.QuotaError
	if !errors.As(err, &quota) || quota.Code != job.QuotaOut || made > 1<<20/4096 || made < 200 {
		t.Errorf("after %d links: %v", made, err)
	}
}

// TestRandomStream checks that random bytes are the stream of chacha8rand
// (https://c2sp.org/chacha8rand), for any sequence of read sizes.
func TestRandomStream(t *testing.T) {
	c := newCaller(t, Config{Seed: [32]byte([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZ123456"))})
	var got []byte
	for _, n := range []uint64{1, 7, 3, 0, 5} {
		want(t, "random_get", c.call("random_get", dataAt, n), eOK)
		b, _ := c.m.Read(dataAt, uint32(n))
		got = append(got, b...)
	}
	if s := fmt.Sprintf("%x", got); s != "a516463d06b673b73cbc6aa622af6011" {
		t.Errorf("%s", s)
	}
}

// TestScratchFaultEndsTheRun checks that a scratch folder that fails is a machine fault, never
// an errno.
func TestScratchFaultEndsTheRun(t *testing.T) {
	c := newCaller(t, Config{})
	if err := os.RemoveAll(c.s.cfg.Scratch); err != nil {
		t.Fatal(err)
	}
	fd, e := c.open("out/f", oCreat, rw)
	want(t, "create", e, eOK)
	if err := ended(func() { c.truncate(fd, 1<<20) }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestScratchFaultEndsFinishOut truncates a scratch file that other goroutines read: that is a
// machine fault, too, and does not panic in those goroutines.
func TestScratchFaultEndsFinishOut(t *testing.T) {
	for _, left := range []int64{0, 3 << 20} { // the first chunk is read by this goroutine
		c := newCaller(t, Config{Profile: dag.UnixFSv1})
		fd, e := c.open("out/f", oCreat, rw)
		want(t, "create", e, eOK)
		want(t, "truncate", c.truncate(fd, 8<<20), eOK)
		c.close(fd)
		if err := os.Truncate(filepath.Join(c.s.cfg.Scratch, "1"), left); err != nil {
			t.Fatal(err)
		}
		if _, err := c.s.FinishOut(t.Context(), &dag.MemBlocks{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("with %d bytes of 8 MiB left: got %v, want %v", left, err, io.ErrUnexpectedEOF)
		}
	}
}

// TestReadsDoNotAllocate checks that the hot path does not burden the collector.
func TestReadsDoNotAllocate(t *testing.T) {
	bs := &dag.MemBlocks{}
	c := newCaller(t, Config{Blocks: bs, Inputs: []job.Input{{Name: "f", CID: fileOf(t, bs, longText).CID}}})
	fd, _ := c.open("in/f", 0, rightRead)
	c.iovec(4096)
	ctx, p := context.Background(), []uint64{uint64(fd), iovAt, 1, 0, outAt}
	if n := testing.AllocsPerRun(100, func() { fdPread(ctx, c.s, c.m, p) }); n > 0 {
		t.Errorf("allocations per read: got %v", n)
	}
}
