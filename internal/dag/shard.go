package dag

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"

	"github.com/spaolacci/murmur3"
)

// A sharded directory is a trie over the murmur3 hashes of the names: a node has up to fanout slots, each with the
// name whose hash leads there or, if there are several, a node one level down. The same set of names always yields
// the same trie.

// maxHashBits is how many bits of a name's hash a sharded directory uses. The cursors of [Dir.Next] need the last
// bit; only names constructed to collide need more bits.
const maxHashBits = 62

func nameHash(name string) uint64 { return murmur3.Sum64([]byte(name)) }

// NameKey returns the bits of a name's hash that determine its place in a sharded directory of the profile. Two names
// with the same key cannot be in one directory: the trie could not separate them. A [DirWriter] refuses them in a
// small directory too, so that no directory fails when it grows.
func (p Profile) NameKey(name string) uint64 { return nameHash(name) >> (64 - p.hashBits()) }

// hashBits is how many bits of a hash the levels of a trie use.
func (p Profile) hashBits() int { return maxHashBits / p.width() * p.width() }

// width is how many bits of a hash one level uses.
func (p Profile) width() int { return bits.Len(uint(p.Fanout)) - 1 }

// slotOf returns the slot of hash in a node that is used bits down the trie.
func slotOf(hash uint64, used, width int) int { return int(hash << used >> (64 - width)) }

// slotPrefix is the prefix of the link names of a slot: the slot's number in upper-case hexadecimal, padded to the
// width of the last slot.
func slotPrefix(slot, fanout int) string { return fmt.Sprintf("%0*X", prefixLen(fanout), slot) }

func prefixLen(fanout int) int { return (bits.Len(uint(fanout-1)) + 3) / 4 }

// hasSlotPrefix reports whether name begins with slot's prefix of n digits.
func hasSlotPrefix(name string, slot, n int) bool {
	if len(name) < n {
		return false
	}
	for i := n - 1; i >= 0; i-- {
		if name[i] != "0123456789ABCDEF"[slot&15] {
			return false
		}
		slot >>= 4
	}
	return true
}

func (d *DirWriter) sharded(ctx context.Context) (pbLink, error) {
	slices.SortFunc(d.entries, func(a, b dirLink) int { return cmp.Compare(a.hash, b.hash) })
	return d.shard(ctx, d.entries, 0)
}

// shard makes the node of entries, which share the first used bits of their hashes and are sorted by hash. The
// recursion ends because Add has checked that their keys differ.
func (d *DirWriter) shard(ctx context.Context, entries []dirLink, used int) (pbLink, error) {
	width := d.p.width()
	field := make([]byte, d.p.Fanout/8)
	var n pbNode
	for len(entries) > 0 {
		slot := slotOf(entries[0].hash, used, width)
		same := 1
		for same < len(entries) && slotOf(entries[same].hash, used, width) == slot {
			same++
		}
		link := entries[0].pbLink
		if same > 1 {
			var err error
			if link, err = d.shard(ctx, entries[:same], used+width); err != nil {
				return pbLink{}, err
			}
		}
		link.name = slotPrefix(slot, d.p.Fanout) + link.name
		n.links = append(n.links, link)
		field[len(field)-1-slot/8] |= 1 << (slot % 8)
		entries = entries[same:]
	}
	n.data = fsNode{typ: fsShard, data: trimZeros(field), hashType: murmur3x64, fanout: uint64(d.p.Fanout)}.encode()
	return putNode(ctx, d.bs, d.p, n)
}

// trimZeros removes leading zero bytes, as stored bitfields have none; it returns nil if nothing remains.
func trimZeros(b []byte) []byte {
	for i, octet := range b {
		if octet != 0 {
			return b[i:]
		}
	}
	return nil
}
