package meter

const maxPages = 1 << 16 // of 64 KiB: the maximum of a 32-bit memory

// memoryGrow returns the function that replaces memory.grow. A growth that the module's own
// maximum forbids returns -1 for the price of the instruction. Any other is paid for, then
// announced to the host, which ends the run if it exceeds the run's limit, and then must
// succeed.
func (w *rewriter) memoryGrow() helper {
	const n, total, old = 0, 1, 2
	limit := int64(maxPages)
	if m := w.m.memories[0].max; m < maxPages {
		limit = int64(m)
	}
	a := asm{b: []byte{2, 1, typeI64, 1, typeI32}}
	a.op(opMemorySize, 0, opI64ExtendU)
	a.get(n)
	a.op(opI64ExtendU, opI64Add)
	a.tee(total)
	a.i64(limit)
	a.op(opI64GtU, opIf, emptyBlock)
	a.i32(-1)
	a.op(opReturn, opEnd)

	a.getGlobal(w.fuel)
	a.get(n)
	a.op(opI64ExtendU)
	a.i64(pricePage)
	a.op(opI64Mul)
	w.pay(&a)

	a.get(total)
	a.call(w.grow)
	a.get(n)
	a.op(opMemoryGrow, 0)
	a.tee(old)
	a.i32(-1)
	a.op(opI32Eq, opIf, emptyBlock) // the host agreed and its engine refused
	a.i64(-1)
	a.call(w.grow)
	a.op(opEnd)
	a.get(old)
	a.op(opEnd)
	return helper{name: "memory.grow", typ: funcType{[]byte{typeI32}, []byte{typeI32}}, code: a.b}
}

// tableGrow returns the function that replaces table.grow. No limit of a run counts tables, so
// they end at TableLimit: beyond it the result is -1, which the specification allows for any
// growth.
func (w *rewriter) tableGrow(index uint32) helper {
	const value, n = 0, 1
	t := w.m.tables[index]
	limit := int64(min(t.max, TableLimit))
	a := asm{b: []byte{0}}
	a.op(opMisc, miscTableSize)
	a.b = appendU(a.b, uint64(index))
	a.op(opI64ExtendU)
	a.get(n)
	a.op(opI64ExtendU, opI64Add)
	a.i64(limit)
	a.op(opI64GtU, opIf, emptyBlock)
	a.i32(-1)
	a.op(opReturn, opEnd)
	w.charge(&a, n, 0)
	a.get(value)
	a.get(n)
	a.op(opMisc, miscTableGrow)
	a.b = appendU(a.b, uint64(index))
	a.op(opEnd)
	return helper{name: "table.grow", typ: funcType{[]byte{t.typ, typeI32}, []byte{typeI32}}, code: a.b}
}
