//go:build wasip1

package liftoff

import "unsafe"

// The calls of the ABI as the host provides them, in the order of abi.Calls. The
// pointers are used only during the call.

//go:wasmimport liftoff_v1 input_count
func hostInputCount() int64

//go:wasmimport liftoff_v1 input_name
//go:noescape
func hostInputName(i uint32, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 args
//go:noescape
func hostArgs(p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 env
//go:noescape
func hostEnv(p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 cid
//go:noescape
func hostCID(h uint32, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 codec
func hostCodec(h uint32) int64

//go:wasmimport liftoff_v1 kind
func hostKind(h uint32) int64

//go:wasmimport liftoff_v1 block_read
//go:noescape
func hostBlockRead(h, off uint32, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 block_write
//go:noescape
func hostBlockWrite(codec uint32, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 file_read
//go:noescape
func hostFileRead(h uint32, off int64, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 file_create
func hostFileCreate() int64

//go:wasmimport liftoff_v1 file_write
//go:noescape
func hostFileWrite(h uint32, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 file_finish
func hostFileFinish(h uint32) int64

//go:wasmimport liftoff_v1 link_count
func hostLinkCount(h uint32) int64

//go:wasmimport liftoff_v1 link
func hostLink(h, i uint32) int64

//go:wasmimport liftoff_v1 child
//go:noescape
func hostChild(h uint32, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 resolve
//go:noescape
func hostResolve(h uint32, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 dir_next
//go:noescape
func hostDirNext(h uint32, cursor int64, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 readlink
//go:noescape
func hostReadlink(h uint32, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 close
func hostClose(h uint32) int64

//go:wasmimport liftoff_v1 output
//go:noescape
func hostOutput(h uint32, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 hash
//go:noescape
func hostHash(code uint32, p unsafe.Pointer, n uint32, out unsafe.Pointer, outCap uint32) int64

//go:wasmimport liftoff_v1 log
//go:noescape
func hostLog(level uint32, p unsafe.Pointer, n uint32) int64

//go:wasmimport liftoff_v1 progress
func hostProgress(done, total int64) int64

// ptr returns the address of p in the guest's memory.
func ptr(p []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(p)) }

// size returns p's length: below 4 GiB, as the whole memory is.
func size(p []byte) uint32 { return uint32(len(p)) }
