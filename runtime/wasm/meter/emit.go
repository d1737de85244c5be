package meter

import "encoding/binary"

// emitter writes one function's output.
type emitter struct {
	asm
	*body
	*plan
}

// emit appends the function's body, with its size before it.
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
		e.arg(ev.aux, e.label(ev.arg))
	case evTable:
		e.op(opBrTable)
		n := e.targets[ev.arg]
		e.asm.b = appendU(e.asm.b, uint64(n))
		for _, l := range e.targets[ev.arg+1:][:n+1] {
			e.asm.b = appendU(e.asm.b, uint64(e.label(l)))
		}
	case evReturn:
		if e.wrapped {
			e.br(e.label(ev.arg))
		} else {
			e.op(opReturn)
		}
	case evCall:
		e.flush()
		e.call(ev.arg)
		e.reload()
	case evIndirect:
		e.flush()
		e.op(src[ev.pos:ev.end]...)
		e.reload()
	case evRefFunc:
		e.arg(opRefFunc, ev.arg)
	case evCanon:
		if e.canon(ev) {
			e.canonical(ev.aux)
		}
	case evSafe:
		e.emitSafe(ev.aux, src[ev.pos:ev.end])
	case evEnd:
		e.epilogue()
	}
}

// label is a label's final number: the split form of the entry puts two labels
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

// flush stores fuel for others to see, reload takes it back: around each call.
func (e *emitter) flush() {
	if e.local {
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
	e.flush()
	e.call(e.w.slow)
	e.reload()
}

// canonical makes the value on the stack canonical. Scalars branch over the rare case:
// the engine's float select is not right (see safe.go), and >= with itself is one
// flag test on amd64 where == would be two.
func (e *emitter) canonical(form canonForm) {
	t := e.value[form]
	switch form {
	case canonF32, canonF64:
		e.set(t)
		e.op(opBlock, emptyBlock)
		e.get(t)
		e.get(t)
		if form == canonF32 {
			e.op(opF32Ge)
			e.brIf(0)
			e.asm.b = binary.LittleEndian.AppendUint32(append(e.asm.b, opF32Const), nanF32)
		} else {
			e.op(opF64Ge)
			e.brIf(0)
			e.asm.b = binary.LittleEndian.AppendUint64(append(e.asm.b, opF64Const), nanF64)
		}
		e.set(t)
		e.op(opEnd)
		e.get(t)
	case canonF32x4:
		e.canonicalLanes(t, nanF32<<32|nanF32, vectorF32x4Eq)
	case canonF64x2:
		e.canonicalLanes(t, nanF64, vectorF64x2Eq)
	}
}

func (e *emitter) canonicalLanes(t uint32, nan uint64, eq uint32) {
	e.tee(t)
	e.vectorOp(vectorConst)
	e.asm.b = binary.LittleEndian.AppendUint64(e.asm.b, nan)
	e.asm.b = binary.LittleEndian.AppendUint64(e.asm.b, nan)
	e.get(t)
	e.get(t)
	e.vectorOp(eq)
	e.vectorOp(vectorBitselect)
}

// The canonical NaNs: positive, quiet, no payload.
const (
	nanF32 = 0x7fc00000
	nanF64 = 0x7ff8000000000000
)
