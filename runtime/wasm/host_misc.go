package wasm

import (
	"crypto/sha256"
	"crypto/sha512"
	gohash "hash"
	"time"

	"github.com/multiformats/go-multihash"
	"github.com/tetratelabs/wazero/api"
	"lukechampine.com/blake3"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

func hash(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	var h gohash.Hash
	switch uint32(a[0]) {
	case multihash.SHA2_256:
		h = sha256.New()
	case multihash.SHA2_512:
		h = sha512.New()
	case multihash.BLAKE3:
		h = blake3.New(32, nil)
	default:
		return 0, abi.CODEC
	}
	src, errno := guestBytes(mem, a[1], a[2])
	if errno != 0 {
		return 0, errno
	}
	if _, errno := guestBytes(mem, a[3], a[4]); errno != 0 {
		return 0, errno
	}
	r.fuel.Spend(uint64(len(src)) * abi.FuelHashByte)
	fuel.Steps(r.ctx, src, func(b []byte) { h.Write(b) })
	return give(r, mem, h.Sum(nil), a[3], a[4])
}

// logLine writes a line to the Outcome's stderr. The level is reserved for a later version.
func logLine(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	b, errno := guestBytes(mem, a[1], a[2])
	if errno != 0 {
		return 0, errno
	}
	r.payWrite(b)
	if err := r.stderr.writeLine(b); err != nil {
		end(err)
	}
	return 0, 0
}

// progressPause is the least time between two progress reports that are passed on.
const progressPause = 50 * time.Millisecond

func progress(r *run, _ api.Memory, a []uint64) (int64, abi.Errno) {
	if r.env.Progress == nil {
		return 0, 0
	}
	if now := time.Now(); now.Sub(r.progressed) >= progressPause {
		r.progressed = now
		r.env.Progress(int64(a[0]), int64(a[1]))
	}
	return 0, 0
}
