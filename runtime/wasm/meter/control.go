package meter

// control analyses the instructions that are not plain operators.
func (b *body) control(code byte, at int) {
	switch code {
	case opNop:
		return
	case opBlock, opLoop:
		b.openFrame(code, at)
		return
	case opEnd:
		b.endFrame(at)
		return
	case opElse:
		b.elseFrame(at)
		return
	case opMisc:
		b.miscStep(at)
		return
	case opVector:
		b.vectorStep(at)
		return
	case opCall:
		b.cost += priceCall
	case opCallIndirect:
		b.cost += priceCallIndirect
	default:
		b.cost += priceInstruction
	}
	switch code {
	case opIf:
		b.popValue()
		b.openFrame(code, at)
	case opBr, opBrIf, opBrTable, opReturn, opUnreachable:
		b.jump(code, at)
	case opCall, opCallIndirect:
		b.callStep(code, at)
	case opDrop:
		b.popValue()
	case opSelect, opSelectTyped:
		b.selectStep(code, at)
	case opLocalGet, opLocalSet, opLocalTee:
		b.localStep(code)
	case opGlobalGet, opGlobalSet:
		b.globalStep(code)
	default:
		b.plain(code, at)
	}
}

func (b *body) localStep(code byte) {
	i, t := b.localIndex()
	if b.err != nil {
		return
	}
	node := b.localNode(i, t)
	if code != opLocalGet {
		v := b.popValue()
		b.nan.flow(v.node, node)
		b.frameUse.set(i, t)
		b.ands[i] = v.from & maybeAnd
	} else {
		b.frameUse.get(i, t, b.loopAt)
	}
	if code != opLocalSet {
		b.pushValue(t, node)
		b.setFrom(b.ands[i] | maybeZero)
	}
}

// globalStep refuses globals beyond the guest's own: the next ones are the counters.
func (b *body) globalStep(code byte) {
	i := b.u32()
	if int64(i) >= int64(b.w.m.globals) {
		b.fail("global index %d, want less than %d", i, b.w.m.globals)
		return
	}
	if code == opGlobalSet {
		b.popSeen(1)
		return
	}
	b.pushValue(b.w.m.globalTypes[i], noNode)
	b.setFrom(maybeZero)
}

func (b *body) callStep(code byte, at int) {
	b.hasCall = true
	if !b.lowered {
		if len(b.frames) == 1 {
			b.mayLower(at)
		}
		b.events[b.lower].arg, b.lowered = 1, true
	}
	b.countCall(at)
	var t funcType
	if code == opCall {
		i := b.u32()
		shifted := b.w.funcIndex(&b.reader, i)
		if b.err != nil {
			return
		}
		t = b.w.m.types[b.w.m.funcs[i]]
		b.event(evCall, at, shifted, b.inGlobal())
	} else {
		i := b.w.m.typeIndex(&b.reader)
		b.tableIndex()
		if b.err != nil {
			return
		}
		t = b.w.m.types[i]
		b.popValue()
		b.event(evIndirect, at, 0, b.inGlobal())
	}
	b.called = true
	b.spend(len(t.params) + len(t.results))
	b.popSeen(len(t.params))
	b.frameUse.call(t.params, code == opCallIndirect)
	b.pushSeen(t.results)
	b.cost += movePrice(slotsOf(t.results))
}

// countCall adds a check before the call at position at, if some path to it has had as many
// calls as are allowed without a check.
func (b *body) countCall(at int) {
	if b.callsRun++; b.callsRun == callsPerCheck {
		b.callsRun = 0
		b.asks++
		b.settle(at)
		b.events = append(b.events, event{pos: int32(at), end: int32(at), kind: evCheck})
	}
}

func (b *body) tableIndex() byte {
	i := b.u32()
	if int64(i) >= int64(len(b.w.m.tables)) {
		b.fail("table index %d, want less than %d", i, len(b.w.m.tables))
		return typeFunc
	}
	return b.w.m.tables[i].typ
}

func (b *body) selectStep(code byte, at int) {
	t := byte(0)
	if code == opSelectTyped {
		if n := b.u32(); n != 1 {
			b.fail("select has %d types, want 1", n)
		}
		t = b.valueType()
	}
	b.popValue()
	y, x := b.popValue(), b.popValue()
	if t == 0 {
		t = x.typ
	}
	node := noNode
	if carriesNaN(t) {
		node = b.nan.node(1)
		b.safe(safeSelect(t), at)
	}
	b.nan.flow(x.node, node)
	b.nan.flow(y.node, node)
	b.pushValue(t, node)
}

// plain analyses the remaining instructions: constants, references, tables, memory.size and
// grow.
func (b *body) plain(code byte, at int) {
	switch code {
	case opI32Const:
		v := b.leb(5, 32, true)
		b.pushValue(typeI32, noNode)
		b.setFrom(zeroOr(v))
	case opI64Const:
		v := b.leb(10, 64, true)
		b.pushValue(typeI64, noNode)
		b.setFrom(zeroOr(v))
	case opF32Const:
		b.take(4)
		b.pushValue(typeF32, noNode)
	case opF64Const:
		b.take(8)
		b.pushValue(typeF64, noNode)
	case opRefNull:
		t := b.byte()
		if !isReference(t) {
			b.fail("unknown reference type 0x%02x", t)
		}
		b.pushValue(t, noNode)
	case opRefIsNull:
		b.popSeen(1)
		b.pushValue(typeI32, noNode)
	case opRefFunc:
		i := b.w.funcIndex(&b.reader, b.u32())
		b.event(evRefFunc, at, b.w.ref(i), 0)
		b.pushValue(typeFunc, noNode)
	case opTableGet:
		t := b.tableIndex()
		b.popSeen(1)
		b.pushValue(t, noNode)
	case opTableSet:
		b.tableIndex()
		b.popSeen(2)
	case opMemorySize:
		b.memoryZero()
		b.pushValue(typeI32, noNode)
	case opMemoryGrow:
		b.memoryZero()
		b.popSeen(1)
		b.helper(at, helperKey{op: keyMemoryGrow})
		b.pushValue(typeI32, noNode)
	default:
		b.fail("unknown opcode 0x%02x", code)
	}
}

func (b *body) memoryZero() {
	if i := b.byte(); i != 0 {
		b.fail("memory index %d, want 0", i)
	}
	if len(b.w.m.memories) == 0 {
		b.fail("module has no memory")
	}
}
