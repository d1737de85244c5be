package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

func numberedKey(i uint64) key {
	return key{digest: sha256.Sum256(binary.LittleEndian.AppendUint64(nil, i))}
}

// TestFilter: an added key always passes, and few other keys do.
func TestFilter(t *testing.T) {
	for _, n := range []uint64{0, 1, 100, 50_000} {
		f := newFilter(n)
		for i := range n {
			f.add(numberedKey(i))
		}
		for i := range n {
			if !f.mayHave(numberedKey(i)) {
				t.Fatalf("%d keys: added key %d does not pass", n, i)
			}
		}
		let := 0
		const others = 10_000
		for i := range uint64(others) {
			if f.mayHave(numberedKey(1<<40 + i)) {
				let++
			}
		}
		if let > others/40 {
			t.Errorf("%d keys: %d of %d other keys pass", n, let, others)
		}
	}
	if f := newFilter(maxFiltered + 1); f != nil || !f.mayHave(numberedKey(1)) {
		t.Error("a nil filter excludes a key")
	}
}
