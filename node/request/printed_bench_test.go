package request

import (
	"io"
	"testing"
)

// BenchmarkPrinted measures the cost of one peer's output on its way to a reader: one hash.
func BenchmarkPrinted(b *testing.B) {
	data := make([]byte, 64<<10)
	b.SetBytes(int64(len(data)))
	run := NewPrinted(Output{Stdout: io.Discard}, Policy{}).run("peer", false)
	for off := uint64(0); b.Loop(); off += uint64(len(data)) {
		if err := run.add(1, off, data); err != nil {
			b.Fatal(err)
		}
	}
}
