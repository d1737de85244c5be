package meter

// push opens a frame whose parameters are on the stack.
func (b *body) push(f frame) {
	f.height = int32(len(b.stack) - len(f.typ.params))
	f.slots = int32(b.slots - slotsOf(f.typ.params))
	f.splits = b.splits
	if len(b.frames) == maxNesting {
		b.stop("nested blocks", maxNesting)
	}
	b.frames = append(b.frames, f)
}

// openFrame begins a block, a loop or an if. Parameters of frames are rare: they count as
// observed, which makes incoming values canonical and needs no bookkeeping.
func (b *body) openFrame(code byte, at int) {
	t := b.blockType(b.w.m.types)
	if b.err != nil {
		return
	}
	b.spend(len(t.params) + len(t.results))
	for i := range b.top(len(t.params)) {
		v := &b.stack[len(b.stack)-len(t.params)+i]
		b.nan.see(v.node, seenAll)
		v.node = noNode
		if code == opLoop {
			b.frameUse.pop(v.born, v.typ)
			b.frameUse.spills += slots(v.typ) // values of the branches back to the head
			v.born = b.frameUse.now()
		}
	}
	if b.err != nil {
		return
	}
	if len(b.frames) == 1 && !b.lowered {
		b.mayLower(at)
	}
	f := frame{
		op: code, typ: t, results: b.nan.results(t.results),
		before: b.callsRun, changes: int32(len(b.frameUse.changes)), start: b.frameUse.made,
	}
	switch code {
	case opLoop:
		b.closeBlock(at)
		f.split = len(t.params) == 0
		aux := byte(0)
		if f.split {
			aux = 1
			b.splits++
		}
		b.hasLoop = true
		b.asks++
		b.frameUse.calls++ // its check may call
		b.event(evLoop, at, 0, aux)
		b.callsRun = 0
		b.openBlock()
		f.debit = int32(b.debit)
		f.around, b.loopAt = b.loopAt, f.start
	case opIf:
		b.closeBlock(at)
		b.openBlock()
		f.calls = f.before
	}
	b.push(f)
}

// deliver records that the topmost values reach the end of f through its label.
func (b *body) deliver(f *frame) {
	b.spend(len(f.typ.results))
	values := b.top(len(f.typ.results))
	for i, v := range values {
		to := noNode
		if f.results >= 0 {
			to = f.results + int32(i)
		}
		b.nan.flow(v.node, to)
		b.frameUse.pop(v.born, v.typ)
		values[i].born = b.frameUse.now()
	}
}

// unwind drops the operands of f and pushes values of types instead, starting at node.
func (b *body) unwind(f *frame, types []byte, node int32) {
	b.stack = b.stack[:f.height]
	b.slots = int(f.slots)
	for i, t := range types {
		n := noNode
		if node >= 0 {
			n = node + int32(i)
		}
		b.pushValue(t, n)
		b.setFrom(maybeZero)
	}
}

func (b *body) elseFrame(at int) {
	f := &b.frames[len(b.frames)-1]
	if f.op != opIf {
		b.fail("else without if")
		return
	}
	if b.live {
		b.atEnd(f)
		b.deliver(f)
		b.closeBlock(at)
		f.arrive(b.callsRun)
	}
	f.op, f.armLive = opElse, b.live
	b.unwind(f, f.typ.params, noNode)
	b.live, b.callsRun = true, f.before
	b.openBlock()
}

// atEnd checks that only f's results are on the stack.
func (b *body) atEnd(f *frame) {
	if len(b.stack) != int(f.height)+len(f.typ.results) {
		b.fail("%d values at the end of a block with %d results", len(b.stack)-int(f.height), len(f.typ.results))
	}
}

// endFrame closes the innermost frame. It continues in live code, or skips dead code to the
// next end or else.
func (b *body) endFrame(at int) {
	f := b.frames[len(b.frames)-1]
	if b.live {
		b.atEnd(&f)
		b.deliver(&f)
		f.arrive(b.callsRun)
	}
	reached := b.live
	switch f.op {
	case opBlock:
		reached = reached || f.targeted
	case opIf:
		reached = true
	case opElse:
		reached = reached || f.targeted || f.armLive
	case opCall: // the function body
		aux := b.inGlobal()
		b.called = false
		if b.live {
			b.closeBlock(at)
		}
		b.event(evEnd, at, 0, aux)
		b.frames = b.frames[:0]
		return
	}
	splits := f.op == opIf || f.op == opElse || f.op == opBlock && f.targeted
	if b.live && splits {
		b.closeBlock(at)
	}
	b.unwind(&f, f.typ.results, f.results)
	b.frames = b.frames[:len(b.frames)-1]
	if f.op == opLoop {
		b.endLoop(f, at)
	}
	b.live = reached
	switch {
	case !reached:
		b.skip(evDead)
	case splits:
		b.callsRun = f.calls
		b.openBlock()
		b.cost = movePrice(b.merge(&f) + slotsOf(f.typ.results))
	}
}

func (b *body) endLoop(f frame, at int) {
	if f.split {
		b.splits--
		b.event(evEndLoop, at, 0, 0)
	}
	b.loopAt = f.around
	if f.targeted {
		b.payAtHead(&f, movePrice(b.mergeAtHead(&f)+slotsOf(f.typ.params)))
	}
}

// payAtHead adds to the cost of the charged block that begins at the head of the loop f.
func (b *body) payAtHead(f *frame, price uint32) {
	if b.live && b.debit == int(f.debit) {
		b.cost += price // the block is still open
		return
	}
	head := &b.events[f.debit]
	if head.arg == 0 && price > 0 {
		b.debits++
	}
	head.arg += price
	b.total += uint64(price)
}

// arrive records a path to the frame's end with that many calls since its last check.
func (f *frame) arrive(calls uint16) { f.calls = max(f.calls, calls) }

// skip skips dead code, up to the end or else that the enclosing frame needs. None of it is
// emitted, so it is neither renumbered nor priced.
func (b *body) skip(kind eventKind) {
	b.live = false
	start := b.p
	for depth := 0; b.err == nil; {
		at := b.p
		code := b.byte()
		switch code {
		case opBlock, opLoop, opIf:
			depth++
		case opElse:
			if depth == 0 {
				b.p = at
			}
		case opEnd:
			if depth == 0 {
				b.p = at
			} else {
				depth--
			}
		}
		if b.p == at {
			break
		}
		b.skipImmediates(code)
	}
	if b.p > start || kind == evDead {
		b.event(kind, start, 0, 0)
	}
}

// skipImmediates skips the immediates of an opcode.
func (b *body) skipImmediates(code byte) {
	switch code {
	case opBlock, opLoop, opIf:
		b.blockType(b.w.m.types)
	case opBr, opBrIf, opCall, opLocalGet, opLocalSet, opLocalTee, opGlobalGet, opGlobalSet,
		opTableGet, opTableSet, opRefFunc, opMemorySize, opMemoryGrow, opRefNull:
		b.u32()
	case opCallIndirect:
		b.u32()
		b.u32()
	case opBrTable:
		for range b.count("labels") + 1 {
			b.u32()
		}
	case opSelectTyped:
		b.valueTypes()
	case opI32Const:
		b.leb(5, 32, true)
	case opI64Const:
		b.leb(10, 64, true)
	case opF32Const:
		b.take(4)
	case opF64Const:
		b.take(8)
	case opMisc:
		b.skipMisc()
	case opVector:
		b.skipVector()
	default:
		switch core[code].imm {
		case immUnknown:
			b.fail("unknown opcode 0x%02x", code)
		case immMemory:
			b.u32()
			b.u32()
		}
	}
}

func (b *body) skipMisc() {
	switch code := b.u32(); {
	case code < miscMemoryInit:
	case code > miscTableFill:
		b.fail("unknown opcode 0xfc %d", code)
	case code == miscMemoryInit, code == miscTableInit, code == miscTableCopy, code == miscMemoryCopy:
		b.u32()
		b.u32()
	default:
		b.u32()
	}
}

func (b *body) skipVector() {
	code := b.u32()
	if code >= uint32(len(vector)) || vector[code].imm == immUnknown {
		b.fail("unknown vector opcode %d", code)
		return
	}
	switch vector[code].imm {
	case immMemory:
		b.u32()
		b.u32()
	case immMemoryLane:
		b.u32()
		b.u32()
		b.byte()
	case immLane:
		b.byte()
	case immBytes16:
		b.take(16)
	}
}
