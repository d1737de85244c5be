package wasm

import (
	"encoding/binary"
	"errors"

	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

func kindOfBlock(r *run, _ api.Memory, a []uint64) (int64, abi.Errno) {
	o, errno := r.handles.readable(uint32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	r.fuel.Spend(abi.FuelBlock)
	k, err := dag.Kind(r.ctx, r.made, o.cid)
	if err != nil {
		return 0, errnoOf(err)
	}
	return int64(k), 0
}

// linksOf returns the links of the block of handle h. unknown is the errno for a codec whose
// links the host cannot parse.
func (r *run) linksOf(h uint64, unknown abi.Errno) ([]cid.Cid, abi.Errno) {
	b, errno := r.blockOf(h)
	if errno != 0 {
		return nil, errno
	}
	if r.links.of != b.CID() {
		ls, err := dag.Links(b)
		var unsupported *dag.UnsupportedError
		if errors.As(err, &unsupported) {
			return nil, unknown
		}
		if err != nil {
			return nil, errnoOf(err)
		}
		r.links.of, r.links.list = b.CID(), ls
	}
	return r.links.list, 0
}

func linkCount(r *run, _ api.Memory, a []uint64) (int64, abi.Errno) {
	ls, errno := r.linksOf(a[0], abi.FORMAT)
	return int64(len(ls)), errno
}

func linkAt(r *run, _ api.Memory, a []uint64) (int64, abi.Errno) {
	ls, errno := r.linksOf(a[0], abi.CODEC)
	if errno != 0 {
		return 0, errno
	}
	i := uint32(a[1])
	if uint64(i) >= uint64(len(ls)) {
		return 0, abi.RANGE
	}
	if !dag.Served(ls[i]) {
		return 0, abi.CODEC
	}
	h, errno := r.handles.add(&object{cid: ls[i]})
	return int64(h), errno
}

func child(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	if _, errno := r.handles.readable(uint32(a[0])); errno != 0 {
		return 0, errno
	}
	b, errno := guestBytes(mem, a[1], a[2])
	if errno != 0 {
		return 0, errno
	}
	if len(b) > abi.MaxCID {
		return 0, abi.CID
	}
	n, c, err := cid.CidFromBytes(b)
	if err != nil || n != len(b) || !dag.Served(c) {
		return 0, abi.CID
	}
	ls, errno := r.linksOf(a[0], abi.NOLINK)
	if errno != 0 {
		return 0, errno
	}
	for _, l := range ls {
		if l == c {
			h, errno := r.handles.add(&object{cid: c})
			return int64(h), errno
		}
	}
	return 0, abi.NOLINK
}

func resolve(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	o, errno := r.handles.readable(uint32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	path, errno := guestPath(mem, a[1], a[2])
	if errno != 0 {
		return 0, errno
	}
	segments, err := dag.SplitPath(path)
	if err != nil {
		return 0, errnoOf(err)
	}
	r.fuel.Spend(uint64(len(segments)) * abi.FuelBlock)
	to, err := dag.Resolve(r.ctx, r.made, dag.Path{Root: o.cid, Segments: segments})
	switch {
	case err != nil:
		return 0, errnoOf(err)
	case to.Value != nil: // a value inside a block has no handle
		return 0, abi.NOENT
	case !dag.Served(to.CID):
		return 0, abi.FORMAT
	}
	h, errno := r.handles.add(&object{cid: to.CID})
	return int64(h), errno
}

// guestPath copies a path from the guest's memory.
func guestPath(mem api.Memory, ptr, n uint64) (string, abi.Errno) {
	b, errno := guestBytes(mem, ptr, n)
	if errno != 0 {
		return "", errno
	}
	if len(b) > abi.MaxPath {
		return "", abi.INVAL
	}
	return string(b), 0
}

// dirNext writes an entry as the length of its name, 4 bytes, little-endian, followed by the
// name, as much of both as fits.
func dirNext(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	o, errno := r.handles.readable(uint32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	dst, errno := guestBytes(mem, a[2], a[3])
	if errno != 0 {
		return 0, errno
	}
	r.fuel.Spend(abi.FuelEntry)
	d, err := r.dirs.open(o.cid, func() (*dag.Dir, error) { return dag.OpenDir(r.ctx, r.made, o.cid) })
	if err != nil {
		return 0, errnoOf(err)
	}
	e, next, err := d.Next(r.ctx, int64(a[1]))
	if err != nil {
		return 0, errnoOf(err)
	}
	if next == 0 {
		return 0, 0
	}
	var size [4]byte
	binary.LittleEndian.PutUint32(size[:], uint32(len(e.Name)))
	r.fuel.Spend(abi.FuelCopy(uint64(min(len(dst), len(size)+len(e.Name)))))
	n := copy(dst, size[:])
	copy(dst[n:], e.Name)
	return next, 0
}

func readlink(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	o, errno := r.handles.readable(uint32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	r.fuel.Spend(abi.FuelBlock)
	target, err := dag.ReadLink(r.ctx, r.made, o.cid)
	var not *dag.NotSymlinkError
	if errors.As(err, &not) {
		return 0, abi.INVAL
	}
	if err != nil {
		return 0, errnoOf(err)
	}
	return give(r, mem, target, a[1], a[2])
}

func closeHandle(r *run, _ api.Memory, a []uint64) (int64, abi.Errno) {
	return 0, r.handles.close(uint32(a[0]))
}
