package meter

// asm appends instructions to a slice.
type asm struct{ b []byte }

func (a *asm) op(ops ...byte) { a.b = append(a.b, ops...) }

func (a *asm) arg(op byte, i uint32) { a.b = appendU(append(a.b, op), uint64(i)) }

func (a *asm) get(local uint32)        { a.arg(opLocalGet, local) }
func (a *asm) set(local uint32)        { a.arg(opLocalSet, local) }
func (a *asm) tee(local uint32)        { a.arg(opLocalTee, local) }
func (a *asm) getGlobal(global uint32) { a.arg(opGlobalGet, global) }
func (a *asm) setGlobal(global uint32) { a.arg(opGlobalSet, global) }
func (a *asm) call(function uint32)    { a.arg(opCall, function) }
func (a *asm) br(label uint32)         { a.arg(opBr, label) }
func (a *asm) brIf(label uint32)       { a.arg(opBrIf, label) }

func (a *asm) i32(v int32) { a.b = appendS(append(a.b, opI32Const), int64(v)) }
func (a *asm) i64(v int64) { a.b = appendS(append(a.b, opI64Const), v) }

// vectorOp appends a SIMD opcode without immediates.
func (a *asm) vectorOp(code uint32) { a.arg(opVector, code) }
