package dag

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/encoding/protowire"
)

// Constants of MurmurHash3, the 128-bit variant for 64-bit machines.
const (
	murmurC1 = 0x87c37b91114253d5
	murmurC2 = 0x4cf5ad432745937f
)

// inverse returns the inverse of an odd number modulo 2^64.
func inverse(a uint64) uint64 {
	x := a
	for range 6 {
		x *= 2 - a*x
	}
	return x
}

// murmurBlock is the step of the hash for 16 bytes.
func murmurBlock(h1, h2, k1, k2 uint64) (uint64, uint64) {
	h1 ^= bits.RotateLeft64(k1*murmurC1, 31) * murmurC2
	h1 = (bits.RotateLeft64(h1, 27)+h2)*5 + 0x52dce729
	h2 ^= bits.RotateLeft64(k2*murmurC2, 33) * murmurC1
	h2 = (bits.RotateLeft64(h2, 31)+h1)*5 + 0x38495ab5
	return h1, h2
}

// murmurBetween returns the 16 bytes that take the hash from one state to another.
func murmurBetween(h1, h2, to1, to2 uint64) (block [16]byte) {
	fifth := inverse(5)
	k1 := bits.RotateLeft64((to1-0x52dce729)*fifth-h2, -27) ^ h1
	k2 := bits.RotateLeft64((to2-0x38495ab5)*fifth-to1, -31) ^ h2
	binary.LittleEndian.PutUint64(block[:], bits.RotateLeft64(k1*inverse(murmurC2), -31)*inverse(murmurC1))
	binary.LittleEndian.PutUint64(block[8:], bits.RotateLeft64(k2*inverse(murmurC1), -33)*inverse(murmurC2))
	return block
}

func words(b []byte) (uint64, uint64) {
	return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
}

// collision returns another name with the same hash as name, which has 32 bytes. good lists the allowed bytes.
func collision(name string, src *rand.Rand, good string) string {
	first, second := words([]byte(name[:16]))
	h1, h2 := murmurBlock(0, 0, first, second)
	first, second = words([]byte(name[16:]))
	to1, to2 := murmurBlock(h1, h2, first, second)
	for {
		var b [16]byte
		for i := range b {
			b[i] = good[src.IntN(len(good))]
		}
		k1, k2 := words(b[:])
		h1, h2 := murmurBlock(0, 0, k1, k2)
		last := murmurBetween(h1, h2, to1, to2)
		if strings.Trim(string(last[:]), good) == "" {
			return string(b[:]) + string(last[:])
		}
	}
}

// ascii returns the ASCII characters that a name may contain.
func ascii() string {
	var b strings.Builder
	for c := byte(1); c < utf8.RuneSelf; c++ {
		if c != '/' {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// sameHash are two names with the same hash, as found by collision.
var sameHash = [2]string{
	"two-names-that-have-one-hash-000",
	"SUKgyFUeH_MO0Y1TDjvZa#GzcpTY0N,z",
}

func TestCollision(t *testing.T) {
	src := rand.New(rand.NewPCG(1, 2))
	other := collision(sameHash[0], src, ascii())
	if other == sameHash[0] || nameHash(other) != nameHash(sameHash[0]) {
		t.Errorf("%q and %q: hashes %x and %x", sameHash[0], other, nameHash(sameHash[0]), nameHash(other))
	}
	if sameHash[0] == sameHash[1] || nameHash(sameHash[0]) != nameHash(sameHash[1]) {
		t.Errorf("%q and %q: hashes %x and %x", sameHash[0], sameHash[1], nameHash(sameHash[0]), nameHash(sameHash[1]))
	}
}

// TestDirWriterRefusesOneHash: a directory of any size refuses the second of two names with the same hash when it is
// added.
func TestDirWriterRefusesOneHash(t *testing.T) {
	e := Entry{CID: NewBlock(cid.Raw, nil).CID()}
	for _, p := range []Profile{UnixFSv0, UnixFSv1} {
		w := NewDirWriter(new(MemBlocks), p)
		if err := w.Add(sameHash[0], e); err != nil {
			t.Fatal(err)
		}
		err := w.Add(sameHash[1], e)
		if err == nil || !strings.Contains(err.Error(), sameHash[0]) || !strings.Contains(err.Error(), sameHash[1]) {
			t.Errorf("error %v, want one with both names", err)
		}
		if _, err := w.Finish(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestNameKey: the key contains exactly the bits that the levels of a trie use.
func TestNameKey(t *testing.T) {
	for fanout, want := range map[int]int{8: 60, 16: 60, 256: 56, 1024: 60} {
		p := Profile{Fanout: fanout}
		if got := p.hashBits(); got != want {
			t.Errorf("fanout %d: %d bits, want %d", fanout, got, want)
		}
		if got, want := p.NameKey("name"), nameHash("name")>>(64-want); got != want {
			t.Errorf("fanout %d: key %x, want %x", fanout, got, want)
		}
	}
}

// TestAddTreeRefusesOneHash: a tree with a folder that has two names with the same hash is refused before a file of
// the folder is read.
func TestAddTreeRefusesOneHash(t *testing.T) {
	m := fstest.MapFS{}
	for i := range 6000 {
		m[fmt.Sprint("folder/", i)] = &fstest.MapFile{Data: []byte{byte(i)}}
	}
	for _, name := range sameHash {
		m["folder/"+name] = &fstest.MapFile{}
	}
	_, err := AddTree(t.Context(), new(MemBlocks), m, "folder", TreeOptions{Profile: UnixFSv1, Progress: func(p Progress) {
		t.Errorf("%s was read", p.Path)
	}})
	if err == nil || !strings.Contains(err.Error(), "add folder:") || !strings.Contains(err.Error(), sameHash[0]) || !strings.Contains(err.Error(), sameHash[1]) {
		t.Errorf("error %v, want one with the folder and both names", err)
	}
}

// TestClaimsDoNotOverflow: sums of claimed sizes stay within the range that every reader accepts.
func TestClaimsDoNotOverflow(t *testing.T) {
	bs := new(MemBlocks)
	most := []pbLink{{cid: cidA, tsize: math.MaxUint64}, {cid: cidB, tsize: math.MaxUint64}}
	e, err := EntryOf(t.Context(), bs, putFS(bs, fsNode{typ: fsDirectory}, most...))
	if err != nil || e.TSize != math.MaxInt64 {
		t.Errorf("%+v, %v", e, err)
	}
	w := NewDirWriter(bs, UnixFSv1)
	for _, name := range []string{"a", "b"} {
		if err := w.Add(name, e); err != nil {
			t.Fatal(err)
		}
	}
	if e, err = w.Finish(t.Context()); err != nil || e.TSize != math.MaxInt64 {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestUnixFSGroups: the maximum nesting of groups depends on the protobuf library, so all groups are refused.
func TestUnixFSGroups(t *testing.T) {
	for _, levels := range []int{1, 9_999, 10_001} {
		b := slices.Clone(plainDirData)
		for range levels {
			b = protowire.AppendTag(b, 9, protowire.StartGroupType)
		}
		for range levels {
			b = protowire.AppendTag(b, 9, protowire.EndGroupType)
		}
		if _, err := parseFS(b); err == nil {
			t.Errorf("%d groups were accepted", levels)
		}
	}
}
