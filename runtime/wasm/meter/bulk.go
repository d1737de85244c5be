package meter

// Steps of bulk operations: a native copy cannot be interrupted, so none moves more than 256
// KiB: 30 us if the memory is mapped, half a millisecond if the system has to provide it.
const (
	stepBytes   = 256 << 10
	stepEntries = stepBytes / 8
)

// bulkOp is an instruction that works on a range: its operands are destination, source or
// value, and length.
type bulkOp struct {
	name    string
	second  byte  // type of the second operand
	step    int32 // longest range of one native call
	shift   int   // the price is length >> shift
	advance bool  // the second operand is an offset that advances, too
	overlap bool  // source and destination may overlap
	native  []byte
	// size appends the size in units of the destination, as i64.
	size func(a *asm)
}

func (w *rewriter) bulkOp(key helperKey) bulkOp {
	native := []byte{opMisc, byte(key.op)}
	memory := func(a *asm) {
		a.op(opMemorySize, 0, opI64ExtendU)
		a.i64(16)
		a.op(opI64Shl)
	}
	table := func(a *asm) {
		a.op(opMisc, miscTableSize)
		a.b = appendU(a.b, uint64(tableOf(key)))
		a.op(opI64ExtendU)
	}
	o := bulkOp{second: typeI32, step: stepEntries, advance: true, size: table}
	switch key.op {
	case miscMemoryInit, miscMemoryCopy, miscMemoryFill:
		o.step, o.shift, o.size = stepBytes, priceBytesShift, memory
	}
	switch key.op {
	case miscMemoryInit:
		o.name = "memory.init"
		o.native = append(appendU(native, uint64(key.a)), 0)
	case miscMemoryCopy:
		o.name, o.overlap = "memory.copy", true
		o.native = append(native, 0, 0)
	case miscMemoryFill:
		o.name, o.advance = "memory.fill", false
		o.native = append(native, 0)
	case miscTableInit:
		o.name = "table.init"
		o.native = appendU(appendU(native, uint64(key.a)), uint64(key.b))
	case miscTableCopy:
		o.name, o.overlap = "table.copy", true
		o.native = appendU(appendU(native, uint64(key.a)), uint64(key.b))
	case miscTableFill:
		o.name, o.advance, o.second = "table.fill", false, w.m.tables[key.a].typ
		o.native = appendU(native, uint64(key.a))
	}
	return o
}

// tableOf returns the destination: the first immediate, except for table.init the second.
func tableOf(key helperKey) uint32 {
	if key.op == miscTableInit {
		return key.b
	}
	return key.a
}

// Locals of a bulk helper.
const (
	bulkTo     = 0
	bulkFrom   = 1
	bulkLength = 2
	bulkStep   = 3
)

// bulk returns the function that replaces a bulk operation. A range of one step is paid for and
// processed at once. A longer one is first checked as a whole: if it is out of bounds, the
// original instruction runs on it and traps as it would have, with nothing written and nothing
// paid. Otherwise it is paid for and processed step by step, in the direction that is correct
// for overlapping ranges.
func (w *rewriter) bulk(key helperKey) helper {
	o := w.bulkOp(key)
	whole := func(a *asm) {
		a.get(bulkTo)
		a.get(bulkFrom)
		a.get(bulkLength)
		a.op(o.native...)
	}
	a := &asm{b: []byte{1, 1, typeI32}}
	a.get(bulkLength)
	a.i32(o.step)
	a.op(opI32LeU, opIf, emptyBlock)
	w.charge(a, bulkLength, o.shift)
	whole(a)
	a.op(opReturn, opEnd)

	outOfBounds(a, bulkTo, o.size)
	a.op(opIf, emptyBlock)
	whole(a)
	a.op(opUnreachable, opEnd)
	if o.advance {
		w.checkSource(a, o, key, whole)
	}
	if o.overlap {
		a.get(bulkFrom)
		a.get(bulkTo)
		a.op(opI32LtU, opIf, emptyBlock)
		w.steps(a, o, true)
		a.op(opElse)
		w.steps(a, o, false)
		a.op(opEnd)
	} else {
		w.steps(a, o, false)
	}
	a.op(opEnd)
	return helper{name: o.name, typ: funcType{params: []byte{typeI32, o.second, typeI32}}, code: a.b}
}

// outOfBounds appends the test whether the range of bulkLength at the local offset ends beyond
// size.
func outOfBounds(a *asm, offset uint32, size func(*asm)) {
	a.get(offset)
	a.op(opI64ExtendU)
	a.get(bulkLength)
	a.op(opI64ExtendU, opI64Add)
	size(a)
	a.op(opI64GtU)
}

// checkSource appends the check of the range that is read. The size of a segment cannot be
// queried, but an operation of length zero at the range's end traps where the whole would, and
// writes nothing.
func (w *rewriter) checkSource(a *asm, o bulkOp, key helperKey, whole func(*asm)) {
	size := o.size
	switch key.op {
	case miscMemoryInit, miscTableInit:
		size = func(a *asm) { a.i64(1<<32 - 1) }
	case miscTableCopy:
		size = func(a *asm) {
			a.op(opMisc, miscTableSize)
			a.b = appendU(a.b, uint64(key.b))
			a.op(opI64ExtendU)
		}
	}
	outOfBounds(a, bulkFrom, size)
	a.op(opIf, emptyBlock)
	whole(a)
	a.op(opUnreachable, opEnd)
	if key.op == miscMemoryInit || key.op == miscTableInit {
		a.get(bulkTo)
		a.get(bulkFrom)
		a.get(bulkLength)
		a.op(opI32Add)
		a.i32(0)
		a.op(o.native...)
	}
}

// steps appends the loop over a checked range: forward from its start, or backward from its
// end.
func (w *rewriter) steps(a *asm, o bulkOp, backward bool) {
	a.op(opLoop, emptyBlock)
	a.get(bulkLength)
	a.i32(o.step)
	a.get(bulkLength)
	a.i32(o.step)
	a.op(opI32LtU, opSelect)
	a.set(bulkStep)
	w.chargeStep(a, bulkStep, o.shift)

	a.get(bulkLength)
	a.get(bulkStep)
	a.op(opI32Sub)
	a.set(bulkLength)
	if backward {
		for _, offset := range []uint32{bulkTo, bulkFrom} {
			a.get(offset)
			a.get(bulkLength)
			a.op(opI32Add)
		}
	} else {
		a.get(bulkTo)
		a.get(bulkFrom)
	}
	a.get(bulkStep)
	a.op(o.native...)
	if !backward {
		advance(a, bulkTo)
		if o.advance {
			advance(a, bulkFrom)
		}
	}
	a.get(bulkLength)
	a.brIf(0)
	a.op(opEnd)
}

func advance(a *asm, offset uint32) {
	a.get(offset)
	a.get(bulkStep)
	a.op(opI32Add)
	a.set(offset)
}
