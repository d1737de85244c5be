package dag

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipld/merkledag"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"pgregory.net/rapid"
)

// namedNode is an entry of a directory to be made.
type namedNode struct {
	name string
	node ipld.Node
}

// drawName draws a name of any characters, or of invalid bytes.
func drawName(t *rapid.T) string {
	name := rapid.StringN(0, 30, 120).Draw(t, "name")
	if rapid.IntRange(0, 7).Draw(t, "bytes") == 0 {
		name = string(rapid.SliceOfN(rapid.Byte(), 1, 30).Draw(t, "name"))
	}
	name = strings.NewReplacer("/", "-", "\x00", "-").Replace(name)
	if checkName(name) != nil {
		name += "_" // "", "." and ".."
	}
	return name
}

// drawEntries draws at most most entries. A few names are drawn; the others, and the entries' nodes, come from a
// seed.
func drawEntries(t *rapid.T, most int) []namedNode {
	src := rand.New(seeded(t))
	names := map[string]bool{}
	for range min(most, rapid.IntRange(0, 6).Draw(t, "drawn names")) {
		names[drawName(t)] = true
	}
	for range rapid.IntRange(0, most-len(names)).Draw(t, "names") {
		names[randomName(src, 1+src.IntN(40))] = true
	}
	entries := make([]namedNode, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		entries = append(entries, namedNode{name, randomNode(t, src)})
	}
	src.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	return entries
}

// randomName makes a name of about n bytes, in a mix of scripts.
func randomName(src *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteRune([]rune{'a' + src.Int32N(26), '0' + src.Int32N(10), 0xc0 + src.Int32N(64), 0x4e00 + src.Int32N(9000), 0x1f600 + src.Int32N(60)}[src.IntN(5)])
	}
	return b.String()
}

// randomNode is a raw block, or a dag-pb block that claims up to 2^52 bytes below it: boxo refuses a directory whose
// claims add up to more than 2^63.
func randomNode(t rapid.TB, src *rand.Rand) ipld.Node {
	data := fmt.Append(nil, src.Uint64())
	if src.IntN(2) == 0 {
		return merkledag.NewRawNode(data)
	}
	n := merkledag.NodeWithData(data)
	if src.IntN(2) == 0 {
		if err := n.SetCidBuilder(merkledag.V1CidPrefix()); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.AddRawLink("", &ipld.Link{Cid: cidA, Size: src.Uint64() >> (12 + src.IntN(50))}); err != nil {
		t.Fatal(err)
	}
	return n
}

// nodeEntry returns the Entry of n.
func nodeEntry(t rapid.TB, n ipld.Node) Entry {
	size, err := n.Size()
	if err != nil {
		t.Fatal(err)
	}
	return Entry{CID: n.Cid(), TSize: size}
}

// ourDir writes a directory with this package, backwards: the order of adding must not matter.
func ourDir(t rapid.TB, bs *MemBlocks, p Profile, entries []namedNode) Entry {
	t.Helper()
	w := NewDirWriter(bs, p)
	for _, e := range slices.Backward(entries) {
		if err := (boxoDAG{bs}).Add(ctx, e.node); err != nil {
			t.Fatal(err)
		}
		if err := w.Add(e.name, nodeEntry(t, e.node)); err != nil {
			t.Fatal(err)
		}
	}
	e, err := w.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func boxoOptions(t rapid.TB, p Profile) []uio.DirectoryOption {
	mode := uio.SizeEstimationLinks
	if p.ShardByBlock {
		mode = uio.SizeEstimationBlock
	}
	return []uio.DirectoryOption{uio.WithCidBuilder(boxoBuilder(t, p)), uio.WithMaxHAMTFanout(p.Fanout), uio.WithSizeEstimationMode(mode)}
}

// fillBoxo adds the entries to d and its root to bs.
func fillBoxo(t rapid.TB, bs *MemBlocks, d uio.Directory, entries []namedNode) ipld.Node {
	t.Helper()
	for _, e := range entries {
		if err := (boxoDAG{bs}).Add(ctx, e.node); err != nil {
			t.Fatal(err)
		}
		if err := d.AddChild(ctx, e.name, e.node); err != nil {
			t.Fatal(err)
		}
	}
	root, err := d.GetNode()
	if err != nil {
		t.Fatal(err)
	}
	if err := (boxoDAG{bs}).Add(ctx, root); err != nil {
		t.Fatal(err)
	}
	return root
}

// compareDir writes the directory with boxo, which decides when to shard, and with this package.
func compareDir(t rapid.TB, p Profile, entries []namedNode) {
	t.Helper()
	var got, want MemBlocks
	d, err := uio.NewDirectory(boxoDAG{&want}, boxoOptions(t, p)...)
	if err != nil {
		t.Fatal(err)
	}
	d.SetHAMTShardingSize(p.ShardSize)
	sameRoot(t, ourDir(t, &got, p, entries), fillBoxo(t, &want, d, entries))
	sameBlocks(t, "directory", &got, &want)
}

func sameRoot(t rapid.TB, e Entry, root ipld.Node) {
	t.Helper()
	if want := nodeEntry(t, root); e.CID != want.CID || e.TSize != want.TSize {
		t.Errorf("got %s with %d bytes below it; boxo: %s with %d", e.CID, e.TSize, want.CID, want.TSize)
	}
}

// TestOracleDirThreshold: directories whose size is the threshold, or one byte more or less.
func TestOracleDirThreshold(t *testing.T) {
	plain, sharded := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := drawProfile(t)
		p.Fanout = drawFanout(t)
		entries := drawEntries(t, 150)
		w := NewDirWriter(new(MemBlocks), p)
		for _, e := range entries {
			if err := w.Add(e.name, nodeEntry(t, e.node)); err != nil {
				t.Fatal(err)
			}
		}
		p.ShardSize = max(8, w.size+rapid.IntRange(-2, 2).Draw(t, "over")) // boxo checks when an entry is added: an empty directory is plain
		if w.size > p.ShardSize {
			sharded++
		} else {
			plain++
		}
		compareDir(t, p, entries)
	})
	if plain == 0 || sharded == 0 {
		t.Errorf("%d plain directories and %d sharded ones", plain, sharded)
	}
}

func drawFanout(t *rapid.T) int {
	return rapid.SampledFrom([]int{256, 8, 16, 64, 1024}).Draw(t, "fanout")
}

// TestOracleDirProfiles: both profiles, filled to the last byte, and one byte more.
func TestOracleDirProfiles(t *testing.T) {
	for _, p := range []Profile{UnixFSv1, UnixFSv0} {
		for over := range 2 {
			t.Run(fmt.Sprintf("%s/%d", p.Name, over), func(t *testing.T) {
				src := rand.New(rand.NewPCG(uint64(over), p.CIDVersion))
				w := NewDirWriter(new(MemBlocks), p)
				var entries []namedNode
				add := func(name string) {
					t.Helper()
					n := merkledag.NewRawNode(fmt.Append(nil, len(entries)))
					if err := w.Add(name, nodeEntry(t, n)); err != nil {
						t.Fatal(err)
					}
					entries = append(entries, namedNode{name, n})
				}
				for w.size < p.ShardSize-700 {
					add(fmt.Sprint(len(entries), "-", randomName(src, 50+src.IntN(300))))
				}
				for n := 1; n < 700 && w.size < p.ShardSize; n++ {
					name := "last-" + strings.Repeat("z", n)
					alone := NewDirWriter(new(MemBlocks), p)
					empty := alone.size
					if err := alone.Add(name, nodeEntry(t, merkledag.NewRawNode(fmt.Append(nil, len(entries))))); err != nil {
						t.Fatal(err)
					}
					if w.size+alone.size-empty == p.ShardSize+over {
						add(name)
					}
				}
				if w.size != p.ShardSize+over {
					t.Fatalf("estimated size: got %d bytes, want %d", w.size, p.ShardSize+over)
				}
				compareDir(t, p, entries)
			})
		}
	}
}

// TestOracleHAMT: tries of any fanout, with entries removed again: the same set of names yields the same blocks.
func TestOracleHAMT(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProfile(t)
		p.Fanout, p.ShardSize = drawFanout(t), -1 // sharded even when it is empty
		entries := drawEntries(t, 400)
		var got, want MemBlocks
		d, err := uio.NewHAMTDirectory(boxoDAG{&want}, 0, boxoOptions(t, p)...)
		if err != nil {
			t.Fatal(err)
		}
		root := fillBoxo(t, &want, d, entries)
		sameRoot(t, ourDir(t, &got, p, entries), root)
		sameBlocks(t, "HAMT", &got, &want)

		gone := rapid.IntRange(0, len(entries)).Draw(t, "taken out")
		for _, e := range entries[:gone] {
			if err := d.RemoveChild(ctx, e.name); err != nil {
				t.Fatal(err)
			}
		}
		root = fillBoxo(t, &want, d, nil)
		sameRoot(t, ourDir(t, &got, p, entries[gone:]), root)
	})
}

// TestOracleDeepHAMT: names whose hashes have a long common prefix are many levels down.
func TestOracleDeepHAMT(t *testing.T) {
	names := make([]string, 1<<17)
	for i := range names {
		names[i] = fmt.Sprint("name-", i)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(nameHash(a), nameHash(b)) })
	near, best := 0, ^uint64(0)
	for i := range len(names) - 1 {
		if apart := nameHash(names[i]) ^ nameHash(names[i+1]); apart < best {
			near, best = i, apart
		}
	}
	if best>>(64-30) != 0 {
		t.Fatalf("the nearest hashes are %x apart", best)
	}
	var entries []namedNode
	for _, name := range names[max(0, near-20):min(len(names), near+20)] {
		entries = append(entries, namedNode{name, merkledag.NewRawNode([]byte(name))})
	}
	for _, p := range []Profile{UnixFSv1, UnixFSv0} {
		for _, fanout := range []int{8, 256, 1024} {
			p.Fanout, p.ShardSize = fanout, 1
			compareDir(t, p, entries)
		}
	}
}

// TestOracleReadDir: this package lists and looks up directories written by boxo, and vice versa.
func TestOracleReadDir(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProfile(t)
		p.Fanout = drawFanout(t)
		p.ShardSize = rapid.SampledFrom([]int{1, 1 << 30}).Draw(t, "threshold")
		entries := drawEntries(t, 200)
		bs := new(MemBlocks)

		options := boxoOptions(t, p)
		if rapid.Bool().Draw(t, "attributes") {
			options = append(options, uio.WithStat(os.FileMode(0o750), time.Unix(1<<33, 5)))
		}
		theirs, err := uio.NewDirectory(boxoDAG{bs}, options...)
		if err != nil {
			t.Fatal(err)
		}
		theirs.SetHAMTShardingSize(p.ShardSize)
		readHere(t, bs, fillBoxo(t, bs, theirs, entries).Cid(), entries)
		sameLinks(t, bs)
		readWithBoxo(t, bs, ourDir(t, bs, p, entries).CID, entries)
	})
}

func readHere(t *rapid.T, bs *MemBlocks, c cid.Cid, entries []namedNode) {
	t.Helper()
	d, err := OpenDir(ctx, bs, c)
	if err != nil {
		t.Fatal(err)
	}
	var listed []DirEntry
	if err := d.Each(ctx, func(e DirEntry) error { listed = append(listed, e); return nil }); err != nil {
		t.Fatal(err)
	}
	sameListing(t, listed, entries)
	for _, e := range entries {
		want := nodeEntry(t, e.node)
		if got, size, err := d.Lookup(ctx, e.name); err != nil || got != want.CID || size != want.TSize {
			t.Fatalf("Lookup(%q) = %s, %d, %v; want %s, %d", e.name, got, size, err, want.CID, want.TSize)
		}
	}
	var none *NoEntryError
	if _, _, err := d.Lookup(ctx, strings.Repeat("missing", 30)); !errors.As(err, &none) {
		t.Fatalf("missing name: %v", err)
	}
}

func readWithBoxo(t *rapid.T, bs *MemBlocks, c cid.Cid, entries []namedNode) {
	t.Helper()
	n, err := boxoDAG{bs}.Get(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	d, err := uio.NewDirectoryFromNode(boxoDAG{bs}, n)
	if err != nil {
		t.Fatal(err)
	}
	links, err := d.Links(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var listed []DirEntry
	for _, l := range links {
		listed = append(listed, DirEntry{l.Name, l.Cid, l.Size})
	}
	sameListing(t, listed, entries)
	for _, e := range entries {
		if got, err := d.Find(ctx, e.name); err != nil || got.Cid() != e.node.Cid() {
			t.Fatalf("boxo: got %v for %q, %v; want %s", got, e.name, err, e.node.Cid())
		}
	}
	if _, err := d.Find(ctx, strings.Repeat("missing", 30)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("missing name: %v", err)
	}
}

// sameListing compares listings ordered by name: boxo lists shards in another order.
func sameListing(t *rapid.T, listed []DirEntry, entries []namedNode) {
	t.Helper()
	var want []DirEntry
	for _, e := range entries {
		n := nodeEntry(t, e.node)
		want = append(want, DirEntry{e.name, n.CID, n.TSize})
	}
	byName := func(a, b DirEntry) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(listed, byName)
	slices.SortFunc(want, byName)
	if !slices.Equal(listed, want) {
		t.Fatalf("listed %d entries that differ from the %d added ones", len(listed), len(want))
	}
}
