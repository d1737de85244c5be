package meter

import "encoding/binary"

// emitter writes one function's output.
type emitter struct {
	asm
	*body
	*plan
	taken bool // the frame has been deducted from the stack
}

// emit appends the function's body, preceded by its size.
func (b *body) emit(out []byte) []byte {
	e := emitter{asm: asm{b: b.w.scratch[:0]}, body: b, plan: b.makePlan()}
	e.emitLocals()
	e.prologue()
	src := b.reader.b
	last := b.first
	for i := range b.events {
		ev := &b.events[i]
		e.asm.b = append(e.asm.b, src[last:ev.pos]...)
		last = int(ev.end)
		e.emitEvent(ev, src)
	}
	b.w.scratch = e.asm.b
	out = appendU(out, uint64(len(e.asm.b)))
	return append(out, e.asm.b...)
}

func (e *emitter) emitLocals() {
	e.asm.b = appendU(e.asm.b, uint64(e.groups+len(e.added)))
	e.asm.b = append(e.asm.b, e.declared...)
	for _, t := range e.added {
		e.op(1, t)
	}
}

func (e *emitter) emitEvent(ev *event, src []byte) {
	switch ev.kind {
	case evDebit:
		if ev.arg > 0 {
			e.getFuel()
			e.i64(int64(ev.arg))
			e.op(opI64Sub)
			e.setFuel()
		}
	case evCheck:
		e.check()
	case evLoop:
		e.loopHead(src[ev.pos+1:ev.end], ev.aux == 1)
	case evEndLoop:
		e.endSplit()
	case evSkip:
	case evDead:
		e.op(opUnreachable)
	case evBranch:
		if ev.aux == opIf {
			e.branchIf(ev.arg)
			break
		}
		e.arg(ev.aux, e.label(ev.arg))
	case evTable:
		e.op(opBrTable)
		n := e.targets[ev.arg]
		e.asm.b = appendU(e.asm.b, uint64(n))
		for _, l := range e.targets[ev.arg+1:][:n+1] {
			e.asm.b = appendU(e.asm.b, uint64(e.label(l)))
		}
	case evReturn:
		e.leave(ev.aux == 1)
		e.op(opReturn)
	case evCall:
		e.flush(ev.aux == 1)
		e.call(ev.arg)
	case evIndirect:
		e.flush(ev.aux == 1)
		e.op(src[ev.pos:ev.end]...)
	case evLower:
		if ev.arg == 1 {
			e.lowerStack()
		}
	case evReload:
		e.reload()
	case evRefFunc:
		e.i32(int32(ev.arg))
		e.arg(opTableGet, e.w.refTable())
	case evCanon:
		if e.canon(ev) {
			e.canonical(ev.aux)
		}
	case evSafe:
		e.emitSafe(ev.aux, src[ev.pos:ev.end])
	case evEnd:
		e.epilogue(ev.aux == 1)
	}
}

// branchIf appends: branch if the operand is not zero. An if has a block for each case; a br_if
// often has none, and then the engine does not fuse it with the preceding comparison: it
// computes 0 or 1 first, and compares that.
func (e *emitter) branchIf(label uint32) {
	e.op(opIf, emptyBlock)
	if label&outer != 0 {
		e.leave(false)
		e.op(opReturn)
	} else {
		e.br(e.label(label) + 1)
	}
	e.op(opEnd)
}

// label returns the final number of a label: the split form of the entry adds two labels
// between the body and its exit.
func (e *emitter) label(l uint32) uint32 {
	if l&outer == 0 {
		return l
	}
	if e.split {
		return l&^outer + 2
	}
	return l &^ outer
}

func (e *emitter) getFuel() {
	if e.local {
		e.get(e.fuel)
	} else {
		e.getGlobal(e.w.fuel)
	}
}

func (e *emitter) setFuel() {
	if e.local {
		e.set(e.fuel)
	} else {
		e.setGlobal(e.w.fuel)
	}
}

// leave sets both counters to what the caller expects.
func (e *emitter) leave(inGlobal bool) {
	e.flush(inGlobal)
	if e.taken {
		e.raiseStack()
	}
}

// lowerStack deducts the frame from the stack, so that callees see the rest. It is placed
// before the outermost block with the first call in it, outside of any block, so that all later
// code has passed it.
func (e *emitter) lowerStack() {
	if !e.taken {
		e.taken = true
		e.get(e.left)
		e.setGlobal(e.w.stack)
	}
}

func (e *emitter) raiseStack() {
	e.getGlobal(e.w.stack)
	e.i64(e.frame)
	e.op(opI64Add)
	e.setGlobal(e.w.stack)
}

// flush stores fuel in the global for others to read, unless it is there, and reload loads it
// again: around each call.
func (e *emitter) flush(inGlobal bool) {
	if e.local && !inGlobal {
		e.get(e.fuel)
		e.setGlobal(e.w.fuel)
	}
}

func (e *emitter) reload() {
	if e.local {
		e.getGlobal(e.w.fuel)
		e.set(e.fuel)
	}
}

func (e *emitter) callSlow() {
	for i, l := range e.keep {
		e.get(l)
		e.op(opI64ExtendU)
		e.set(e.kept + uint32(i))
	}
	e.flush(false)
	e.call(e.w.slow)
	e.reload()
	for i, l := range e.keep {
		e.get(e.kept + uint32(i))
		e.op(opI32WrapI64)
		e.set(l)
	}
}

// canonical makes the value on the stack canonical. Scalars branch to the rare case: the
// engine's float select is incorrect (see safe.go), and >= with itself is one flag test on
// amd64, while == is two. branchIf explains why it is an if and not a br_if.
func (e *emitter) canonical(form canonForm) {
	t := e.value[form]
	switch form {
	case canonF32, canonF64:
		if e.flat {
			e.canonicalFlat(form)
			return
		}
		e.set(t)
		e.get(t)
		e.get(t)
		if form == canonF32 {
			e.op(opF32Ge, opIf, typeF32)
			e.get(t)
			e.op(opElse)
			e.asm.b = binary.LittleEndian.AppendUint32(append(e.asm.b, opF32Const), nanF32)
		} else {
			e.op(opF64Ge, opIf, typeF64)
			e.get(t)
			e.op(opElse)
			e.asm.b = binary.LittleEndian.AppendUint64(append(e.asm.b, opF64Const), nanF64)
		}
		e.op(opEnd)
	case canonF32x4:
		e.canonicalLanes(t, notNaNF32<<32|notNaNF32, vectorF32x4Ne)
	case canonF64x2:
		e.canonicalLanes(t, notNaNF64, vectorF64x2Ne)
	}
}

// canonicalFlat is canonical for scalars, with a select of integers.
func (e *emitter) canonicalFlat(form canonForm) {
	t := e.value[form]
	e.tee(t)
	if form == canonF32 {
		e.op(opI32ReinterpretF32)
		e.i32(nanF32)
	} else {
		e.op(opI64ReinterpretF64)
		e.i64(nanF64)
	}
	e.get(t)
	e.get(t)
	if form == canonF32 {
		e.op(opF32Ge, opSelect, opF32ReinterpretI32)
	} else {
		e.op(opF64Ge, opSelect, opF64ReinterpretI64)
	}
}

// canonicalLanes clears, in the lanes that are not equal to themselves, the bits that are clear
// in the canonical NaN. The bits that it has are set already: WebAssembly requires them in
// every NaN that arithmetic produces.
func (e *emitter) canonicalLanes(t uint32, clear uint64, ne uint32) {
	e.tee(t)
	e.get(t)
	e.get(t)
	e.vectorOp(ne)
	e.vectorOp(vectorConst)
	e.asm.b = binary.LittleEndian.AppendUint64(e.asm.b, clear)
	e.asm.b = binary.LittleEndian.AppendUint64(e.asm.b, clear)
	e.vectorOp(vectorAnd)
	e.vectorOp(vectorAndNot)
}

// The canonical NaNs (positive, quiet, no payload), and their clear bits.
const (
	nanF32    = 0x7fc00000
	nanF64    = 0x7ff8000000000000
	notNaNF32 = 1<<32 - 1 - nanF32
	notNaNF64 = 1<<64 - 1 - nanF64
)
