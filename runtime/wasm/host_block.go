package wasm

import (
	"bytes"

	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

func cidOf(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	o, errno := r.handles.readable(uint32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	return give(r, mem, o.cid.KeyString(), a[1], a[2])
}

func codecOf(r *run, _ api.Memory, a []uint64) (int64, abi.Errno) {
	o, errno := r.handles.readable(uint32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	return int64(o.cid.Type()), 0
}

// blockOf returns the block of handle h and charges its fuel.
func (r *run) blockOf(h uint64) (dag.Block, abi.Errno) {
	o, errno := r.handles.readable(uint32(h))
	if errno != 0 {
		return dag.Block{}, errno
	}
	r.fuel.Spend(abi.FuelBlock)
	return r.load(o.cid)
}

// load returns a block, from the recently used ones if possible.
func (r *run) load(c cid.Cid) (dag.Block, abi.Errno) {
	if b, ok := r.recent.get(c); ok {
		return b, 0
	}
	b, err := dag.Load(r.ctx, r.made, c)
	if err != nil {
		return dag.Block{}, errnoOf(err)
	}
	r.recent.add(b)
	return b, 0
}

func blockRead(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	b, errno := r.blockOf(a[0])
	if errno != 0 {
		return 0, errno
	}
	off := uint64(uint32(a[1]))
	dst, errno := guestBytes(mem, a[2], a[3])
	if errno != 0 {
		return 0, errno
	}
	data := b.Data()
	rest := data[min(off, uint64(len(data))):]
	r.fuel.Spend(abi.FuelCopy(uint64(min(len(dst), len(rest)))))
	copy(dst, rest)
	return int64(len(data)), 0
}

func blockWrite(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	codec := uint64(uint32(a[0]))
	if codec != cid.Raw && codec != cid.DagProtobuf && codec != cid.DagCBOR {
		return 0, abi.CODEC
	}
	src, errno := guestBytes(mem, a[1], a[2])
	if errno != 0 {
		return 0, errno
	}
	if len(src) > abi.MaxBlockWrite {
		return 0, abi.TOOBIG
	}
	r.payWrite(src)
	b := dag.NewBlock(codec, bytes.Clone(src))
	links, err := dag.Links(b)
	if err != nil {
		return 0, errnoOf(err)
	}
	for _, l := range links {
		if !r.handles.held(l) {
			return 0, abi.NOLINK
		}
	}
	h, errno := r.handles.add(&object{cid: b.CID()})
	if errno != 0 {
		return 0, errno
	}
	if err := r.made.Put(r.ctx, b); err != nil {
		end(err)
	}
	r.recent.add(b)
	return int64(h), 0
}

// payWrite charges the fuel for copying b from the guest and hashing it.
func (r *run) payWrite(b []byte) {
	n := uint64(len(b))
	r.fuel.Spend(abi.FuelCopy(n) + n*abi.FuelHashByte)
}

// recent keeps the blocks that a guest used last, so that reading a block in small pieces, or
// walking its links, does not load it each time.
type recent struct {
	blocks [8]dag.Block // at most 2 MiB each
	next   int
}

func (rs *recent) get(c cid.Cid) (dag.Block, bool) {
	for i := range rs.blocks {
		if rs.blocks[i].CID() == c {
			return rs.blocks[i], true
		}
	}
	return dag.Block{}, false
}

func (rs *recent) add(b dag.Block) {
	rs.blocks[rs.next] = b
	rs.next = (rs.next + 1) % len(rs.blocks)
}
