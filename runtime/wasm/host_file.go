package wasm

import (
	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

func fileRead(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	o, errno := r.handles.readable(uint32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	off := int64(a[1])
	if off < 0 {
		return 0, abi.INVAL
	}
	dst, errno := guestBytes(mem, a[2], a[3])
	if errno != 0 {
		return 0, errno
	}
	r.fuel.Spend(abi.FuelBlock)
	f, err := r.files.open(o.cid, func() (*dag.File, error) { return dag.OpenFile(r.ctx, r.made, o.cid) })
	if err != nil {
		return 0, errnoOf(err)
	}
	if _, err := r.fuel.ReadAt(r.ctx, f, dst, off, true); err != nil {
		return 0, errnoOf(err)
	}
	return f.Size(), 0
}

func fileCreate(r *run, _ api.Memory, _ []uint64) (int64, abi.Errno) {
	h, errno := r.handles.add(&object{writer: dag.NewFileWriter(r.ctx, r.made, outProfile)})
	return int64(h), errno
}

func fileWrite(r *run, mem api.Memory, a []uint64) (int64, abi.Errno) {
	o, errno := r.handles.writable(uint32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	src, errno := guestBytes(mem, a[1], a[2])
	if errno != 0 {
		return 0, errno
	}
	r.payWrite(src)
	fuel.Steps(r.ctx, src, func(b []byte) {
		if _, err := o.writer.Write(b); err != nil { // it copies b
			end(err)
		}
	})
	return int64(o.writer.Size()), 0
}

func fileFinish(r *run, _ api.Memory, a []uint64) (int64, abi.Errno) {
	o, errno := r.handles.writable(uint32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	return 0, r.finish(o)
}

// finish turns o, an unfinished file, into a readable one.
func (r *run) finish(o *object) abi.Errno {
	e, err := o.writer.Finish()
	if err != nil {
		end(err)
	}
	return r.handles.finished(o, e)
}

// readers keeps the files or directories that a guest read last, with their loaded inner nodes.
type readers[T any] struct {
	list  []reading[T] // most recently used last
	close func(T)      // may be nil
}

type reading[T any] struct {
	cid cid.Cid
	v   T
}

// maxReaders bounds a list of readers. Each may hold about 20 MB of inner nodes.
const maxReaders = 8

func (rs *readers[T]) open(c cid.Cid, open func() (T, error)) (T, error) {
	last := len(rs.list) - 1
	if last >= 0 && rs.list[last].cid == c {
		return rs.list[last].v, nil
	}
	for i := range rs.list {
		if rs.list[i].cid == c {
			found := rs.list[i]
			rs.list = append(append(rs.list[:i], rs.list[i+1:]...), found)
			return found.v, nil
		}
	}
	v, err := open()
	if err != nil {
		return v, err
	}
	if len(rs.list) == maxReaders {
		rs.drop(rs.list[0])
		rs.list = append(rs.list[:0], rs.list[1:]...)
	}
	rs.list = append(rs.list, reading[T]{c, v})
	return v, nil
}

func (rs *readers[T]) drop(g reading[T]) {
	if rs.close != nil {
		rs.close(g.v)
	}
}

// closeAll closes all readers.
func (rs *readers[T]) closeAll() {
	for _, g := range rs.list {
		rs.drop(g)
	}
	rs.list = nil
}
