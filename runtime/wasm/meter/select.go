package meter

// wazero 1.12's amd64 compiler gives wrong results for some selects of floats and
// vectors. Its conditional move of an XMM register, xmmCMov, keeps its destination
// when the condition is false, so it reads it; but the tables of the register
// allocator list it as one that only writes it (defKindOp2, useKindOp1), where the
// integer cmove is listed right (useKindOp1Op2Reg). With all registers taken, the
// other operand is reloaded into that very register, and the value selected is lost.
// (wazero's issue 2534, repaired after v1.12.0 by its pull request 2535, which no release
// holds yet.)
//
// So no such select is emitted. Scalars are selected as integers of the same bits;
// vectors by a mask.

// selectFloat stands for a select of type t, one of f32, f64 and v128.
func (e *emitter) selectFloat(t byte) {
	switch t {
	case typeV128:
		e.i32(0)
		e.op(opI32Ne)
		e.i32(-1)
		e.op(opI32Mul)
		e.vectorOp(vectorI32x4Splat)
		e.vectorOp(vectorBitselect)
	case typeF32:
		e.selectAs(e.pick32, opI32ReinterpretF32, opF32ReinterpretI32)
	case typeF64:
		e.selectAs(e.pick64, opI64ReinterpretF64, opF64ReinterpretI64)
	}
}

// selectAs selects by way of integers: y is the local for the second operand.
func (e *emitter) selectAs(y uint32, in, out byte) {
	e.set(e.cond)
	e.op(in)
	e.set(y)
	e.op(in)
	e.get(y)
	e.get(e.cond)
	e.op(opSelect, out)
}

// planSelect reserves the scratch locals of a select of type t.
func (b *body) planSelect(t byte) {
	p := &b.plan
	reserve := func(local *uint32, t byte) {
		if *local == noLocal {
			*local = b.addLocal(t)
		}
	}
	switch t {
	case typeF32:
		reserve(&p.cond, typeI32)
		reserve(&p.pick32, typeI32)
	case typeF64:
		reserve(&p.cond, typeI32)
		reserve(&p.pick64, typeI64)
	}
}
