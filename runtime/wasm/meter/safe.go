package meter

// wazero 1.12's compiler gives wrong results for some instructions when all registers are in
// use. So these are emitted in forms that it compiles correctly, the same on all architectures.
// docs/determinism.md lists them. Each form avoids a fault of one of four kinds; the first is
// wazero's issue 2534, fixed after v1.12.0 by its pull request 2535, the fourth its issue 2508.
// No release has the fixes yet.
//
// 1. An instruction that writes a register and keeps part of its old value is listed as one
// that only writes it, so that the register allocator may put another value there: on amd64
// xmmCMov, which is select of f32, f64 and v128, and the movsd of f64x2.replace_lane 0.
//
// 2. An instruction becomes several that change a register in place, and an operand is first
// used after that. If the operand was spilled it is loaded then, and if it is needed in that
// same register, the register is spilled for it: by a store that is placed after the position
// where it was set, not after the change. So on amd64 copysign loses the sign, bitselect the
// bits. The same may happen to operands that were in registers and had to be spilled again:
// i64x2.mul, min and max of vectors, i8x16.popcnt, conversion from u64.
//
// 3. An instruction becomes a branch of which one side loads a spilled operand, or frees its
// register, and the allocator assumes that both sides have done so: on amd64 conversion from
// u64, and clz and ctz on processors without BMI.
//
// 4. An instruction sets its result, or an intermediate value, in two steps, and the register
// is needed for something else in between. It is loaded again for the second step, but the
// store comes after that. On arm64 these are remainders, where the trap for a divisor of 0 is
// in between; i64x2.bitmask, where another register is set in between; and where an operand is
// loaded: narrow, dot and replace_lane of floats.
//
// Operands that were computed just before are in registers, and needed only there. So if no
// better form exists, an operand is computed again: by an "or" with itself or 0. A result that
// is used at once, by such an "or", is not chosen to leave its register.
//
// i32.popcnt has another reason: on arm64 it counts all 64 bits of its operand's register, and
// the upper ones are not 0 after i32.load8_s and i32.load16_s. An "or" clears them.

// safeForm is the form in which an instruction is emitted instead of the original.
type safeForm = byte

const (
	safeAsIs       safeForm = iota
	safeSelectF32           // by way of integers
	safeSelectF64           //
	safeSelectV128          // by a mask
	safeCopysign32          // by way of integers
	safeCopysign64          //
	safeBitselect           // (x & c) | (y &^ c)
	safeLane32              // f32x4.replace_lane: of i32
	safeLane64              // f64x2.replace_lane: of i64
	safeRemU32              // x - x/y*y
	safeRemU64              //
	safeRemS32              // likewise, with 1 for a divisor of -1
	safeRemS64              //
	safeI32                 // one new operand before the instruction
	safeI64                 //
	safeV128                //
	safeV128x2              // two
	safeResult              // the i32 result computed again after the instruction
)

// safeLocals are the types of the scratch locals that a form needs.
var safeLocals = [...]string{
	safeSelectF32:  "\x7f\x7f",
	safeSelectF64:  "\x7f\x7e",
	safeSelectV128: "\x7b\x7b",
	safeCopysign32: "\x7f",
	safeCopysign64: "\x7e",
	safeBitselect:  "\x7b\x7b",
	safeRemU32:     "\x7f\x7f",
	safeRemU64:     "\x7e\x7e",
	safeRemS32:     "\x7f\x7f",
	safeRemS64:     "\x7e\x7e",
	safeV128:       "\x7b",
	safeV128x2:     "\x7b\x7b",
}

// safe records that the instruction from position at, whose end has been reached, uses the
// form.
func (b *body) safe(form safeForm, at int) {
	switch form {
	case safeAsIs:
	case safeI32, safeI64, safeV128, safeV128x2: // emitted before the instruction
		b.events = append(b.events, event{pos: int32(at), end: int32(at), kind: evSafe, aux: form})
	case safeResult:
		b.event(evSafe, b.p, 0, form)
	default:
		b.event(evSafe, at, 0, form)
	}
}

func safeSelect(t byte) safeForm {
	switch t {
	case typeF32:
		return safeSelectF32
	case typeF64:
		return safeSelectF64
	case typeV128:
		return safeSelectV128
	}
	return safeAsIs
}

// planSafe reserves the scratch locals of a form: one local for all forms that need a first one
// of its type, another for those that need a second.
func (b *body) planSafe(form safeForm) {
	if int(form) >= len(safeLocals) {
		return
	}
	var used [256]byte
	for _, t := range []byte(safeLocals[form]) {
		i := scratchIndex(t, used[t])
		used[t]++
		if b.plan.scratch[i] == noLocal {
			b.plan.scratch[i] = b.addLocal(t)
		}
	}
}

// scratchIndex returns the index in plan.scratch of the nth local of type t.
func scratchIndex(t, n byte) int { return int(typeI32-t)*2 + int(n) }

func (e *emitter) scratchLocal(t, n byte) uint32 { return e.scratch[scratchIndex(t, n)] }

// emitSafe replaces the instruction whose source is src, or precedes it.
func (e *emitter) emitSafe(form safeForm, src []byte) {
	switch form {
	case safeSelectF32:
		e.selectAs(e.scratchLocal(typeI32, 1), opI32ReinterpretF32, opF32ReinterpretI32)
	case safeSelectF64:
		e.selectAs(e.scratchLocal(typeI64, 0), opI64ReinterpretF64, opF64ReinterpretI64)
	case safeSelectV128:
		e.i32(0)
		e.op(opI32Ne)
		e.i32(-1)
		e.op(opI32Mul)
		e.vectorOp(vectorI32x4Splat)
		e.bitselect()
	case safeCopysign32:
		sign := e.scratchLocal(typeI32, 0)
		e.op(opI32ReinterpretF32)
		e.i32(-1 << 31)
		e.op(opI32And)
		e.set(sign)
		e.op(opI32ReinterpretF32)
		e.i32(1<<31 - 1)
		e.op(opI32And)
		e.get(sign)
		e.op(opI32Or, opF32ReinterpretI32)
	case safeCopysign64:
		sign := e.scratchLocal(typeI64, 0)
		e.op(opI64ReinterpretF64)
		e.i64(-1 << 63)
		e.op(opI64And)
		e.set(sign)
		e.op(opI64ReinterpretF64)
		e.i64(1<<63 - 1)
		e.op(opI64And)
		e.get(sign)
		e.op(opI64Or, opF64ReinterpretI64)
	case safeBitselect:
		e.bitselect()
	case safeLane32:
		e.op(opI32ReinterpretF32)
		e.vectorOp(vectorI32x4Replace)
		e.op(src[len(src)-1])
	case safeLane64:
		e.op(opI64ReinterpretF64)
		e.vectorOp(vectorI64x2Replace)
		e.op(src[len(src)-1])
	case safeRemU32:
		e.remainder(typeI32, opI32DivU)
	case safeRemU64:
		e.remainder(typeI64, opI64DivU)
	case safeRemS32:
		e.divisor32()
		e.remainder(typeI32, opI32DivS)
	case safeRemS64:
		e.divisor64()
		e.remainder(typeI64, opI64DivS)
	case safeI32, safeResult:
		e.i32(0)
		e.op(opI32Or)
	case safeI64:
		e.i64(0)
		e.op(opI64Or)
	case safeV128:
		e.renew(e.scratchLocal(typeV128, 0))
	case safeV128x2:
		y := e.scratchLocal(typeV128, 1)
		e.set(y)
		e.renew(e.scratchLocal(typeV128, 0))
		e.get(y)
		e.get(y)
		e.vectorOp(vectorOr)
	}
}

// selectAs selects by way of integers: y is the local for the second operand.
func (e *emitter) selectAs(y uint32, in, out byte) {
	cond := e.scratchLocal(typeI32, 0)
	e.set(cond)
	e.op(in)
	e.set(y)
	e.op(in)
	e.get(y)
	e.get(cond)
	e.op(opSelect, out)
}

// remainder pops x and y from the stack, and appends x - x/y*y.
func (e *emitter) remainder(t, div byte) {
	x, y := e.scratchLocal(t, 0), e.scratchLocal(t, 1)
	mul, sub := byte(opI32Mul), byte(opI32Sub)
	if t == typeI64 {
		mul, sub = opI64Mul, opI64Sub
	}
	e.set(y)
	e.tee(x)
	e.get(x)
	e.get(y)
	e.op(div)
	e.get(y)
	e.op(mul, sub)
}

// divisor32 replaces a divisor of -1, which overflows for the least number, by 1: the remainder
// is 0 for both.
func (e *emitter) divisor32() {
	y := e.scratchLocal(typeI32, 1)
	e.set(y)
	e.i32(1)
	e.get(y)
	e.get(y)
	e.i32(-1)
	e.op(opI32Eq, opSelect)
}

func (e *emitter) divisor64() {
	y := e.scratchLocal(typeI64, 1)
	e.set(y)
	e.i64(1)
	e.get(y)
	e.get(y)
	e.i64(-1)
	e.op(opI64Eq, opSelect)
}

// bitselect pops x, y and a mask from the stack.
func (e *emitter) bitselect() {
	mask, y := e.scratchLocal(typeV128, 0), e.scratchLocal(typeV128, 1)
	e.set(mask)
	e.set(y)
	e.get(mask)
	e.vectorOp(vectorAnd)
	e.get(y)
	e.get(mask)
	e.vectorOp(vectorAndNot)
	e.vectorOp(vectorOr)
}

// renew computes the vector on the stack again.
func (e *emitter) renew(t uint32) {
	e.tee(t)
	e.get(t)
	e.vectorOp(vectorOr)
}
