//go:build !wasip1

package liftoff

import "unsafe"

// Outside of wasip1 there are no host calls. These declarations let the package
// compile, so that editors, vet and documentation work everywhere.

func noHost() int64 {
	panic("liftoff: a host call outside of a guest: build with GOOS=wasip1 GOARCH=wasm")
}

func ptr([]byte) unsafe.Pointer { return nil }

func size([]byte) uint32 { return 0 }

func hostInputCount() int64                                                 { return noHost() }
func hostInputName(uint32, unsafe.Pointer, uint32) int64                    { return noHost() }
func hostArgs(unsafe.Pointer, uint32) int64                                 { return noHost() }
func hostEnv(unsafe.Pointer, uint32) int64                                  { return noHost() }
func hostCID(uint32, unsafe.Pointer, uint32) int64                          { return noHost() }
func hostCodec(uint32) int64                                                { return noHost() }
func hostKind(uint32) int64                                                 { return noHost() }
func hostBlockRead(uint32, uint32, unsafe.Pointer, uint32) int64            { return noHost() }
func hostBlockWrite(uint32, unsafe.Pointer, uint32) int64                   { return noHost() }
func hostFileRead(uint32, int64, unsafe.Pointer, uint32) int64              { return noHost() }
func hostFileCreate() int64                                                 { return noHost() }
func hostFileWrite(uint32, unsafe.Pointer, uint32) int64                    { return noHost() }
func hostFileFinish(uint32) int64                                           { return noHost() }
func hostLinkCount(uint32) int64                                            { return noHost() }
func hostLink(uint32, uint32) int64                                         { return noHost() }
func hostChild(uint32, unsafe.Pointer, uint32) int64                        { return noHost() }
func hostResolve(uint32, unsafe.Pointer, uint32) int64                      { return noHost() }
func hostDirNext(uint32, int64, unsafe.Pointer, uint32) int64               { return noHost() }
func hostReadlink(uint32, unsafe.Pointer, uint32) int64                     { return noHost() }
func hostClose(uint32) int64                                                { return noHost() }
func hostOutput(uint32, unsafe.Pointer, uint32) int64                       { return noHost() }
func hostHash(uint32, unsafe.Pointer, uint32, unsafe.Pointer, uint32) int64 { return noHost() }
func hostLog(uint32, unsafe.Pointer, uint32) int64                          { return noHost() }
func hostProgress(int64, int64) int64                                       { return noHost() }
