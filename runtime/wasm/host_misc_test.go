package wasm

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"testing"

	"github.com/multiformats/go-multihash"
	"lukechampine.com/blake3"

	"github.com/ipfs-liftoff/liftoff/abi"
)

func TestHash(t *testing.T) {
	d := drive(t, newHarness(t), nil)
	ptr, n := d.put(0, "some bytes")
	s2, s5, b3 := sha256.Sum256([]byte("some bytes")), sha512.Sum512([]byte("some bytes")), blake3.Sum256([]byte("some bytes"))
	for code, want := range map[uint64]string{multihash.SHA2_256: string(s2[:]), multihash.SHA2_512: string(s5[:]), multihash.BLAKE3: string(b3[:])} {
		d.want(int64(len(want)), "hash", code, ptr, n, 100, 64)
		if got := d.get(100, uint32(len(want))); got != want {
			t.Errorf("hash %x: %x", code, got)
		}
		d.want(int64(len(want)), "hash", code, ptr, n, 0, 0)
	}
	d.want(32, "hash", multihash.SHA2_256, ptr, n, ptr, 32) // in place
	if got := d.get(0, 32); got != string(s2[:]) {
		t.Errorf("hash in place: %x", got)
	}
	d.fails(abi.CODEC, "hash", multihash.MD5, ptr, n, 0, 0)
	d.fails(abi.CODEC, "hash", far, ptr, n, 0, 0)
}

func TestLog(t *testing.T) {
	w := newHarness(t)
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
