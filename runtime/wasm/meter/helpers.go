package meter

// helper is a function that the rewriter adds after the guest's own.
type helper struct {
	name string
	typ  funcType
	code []byte // locals and instructions
}

// helperKey identifies a helper: the instruction that it replaces and its immediates.
type helperKey struct {
	op   uint32
	a, b uint32
}

// Instructions as helper keys: misc opcodes unchanged, and memory.grow.
const keyMemoryGrow = 0x100

// addSlow adds the function that every check calls when a counter is below zero.
func (w *rewriter) addSlow() {
	var a asm
	a.op(0) // no locals
	a.getGlobal(w.fuel)
	a.getGlobal(w.stack)
	a.call(w.refill)
	a.setGlobal(w.fuel)
	a.op(opEnd)
	w.helpers = append(w.helpers, helper{name: "slow", code: a.b})
}

// helperFor returns the helper for the instruction key, with its price.
func (w *rewriter) helperFor(r *reader, key helperKey) uint32 {
	if i, ok := w.helperOf[key]; ok {
		return i
	}
	if len(w.helpers) > maxHelpers {
		w.fail(&LimitError{What: "distinct bulk operations", Func: -1, Max: maxHelpers})
		return w.slow
	}
	h, ok := w.makeHelper(r, key)
	if !ok {
		return w.slow
	}
	i := w.slow + uint32(len(w.helpers))
	w.helpers = append(w.helpers, h)
	w.helperOf[key] = i
	return i
}

func (w *rewriter) makeHelper(r *reader, key helperKey) (helper, bool) {
	switch key.op {
	case keyMemoryGrow, miscMemoryInit, miscMemoryCopy, miscMemoryFill:
		if len(w.m.memories) == 0 {
			r.fail("module has no memory")
			return helper{}, false
		}
	default:
		t := tableOf(key)
		if key.op == miscTableCopy {
			t = max(key.a, key.b)
		}
		if int64(t) >= int64(len(w.m.tables)) {
			r.fail("table index %d, want less than %d", t, len(w.m.tables))
			return helper{}, false
		}
	}
	switch key.op {
	case keyMemoryGrow:
		return w.memoryGrow(), true
	case miscTableGrow:
		return w.tableGrow(key.a), true
	}
	return w.bulk(key), true
}

// charge appends: deduct the local n, divided by 2^shift, from the fuel, and call the host if
// the result is below zero.
func (w *rewriter) charge(a *asm, n uint32, shift int) {
	w.chargeable(a, n, shift)
	w.pay(a)
}

// chargeStep appends charge, and always calls the host: a step that touches memory for the
// first time takes longer than its fuel suggests.
func (w *rewriter) chargeStep(a *asm, n uint32, shift int) {
	w.chargeable(a, n, shift)
	a.op(opI64Sub)
	a.setGlobal(w.fuel)
	a.call(w.slow)
}

// chargeable appends the fuel, and the amount to deduct from it.
func (w *rewriter) chargeable(a *asm, n uint32, shift int) {
	a.getGlobal(w.fuel)
	a.get(n)
	a.op(opI64ExtendU)
	if shift != 0 {
		a.i64(int64(shift))
		a.op(opI64ShrU)
	}
}

// pay appends: set the fuel to the difference on the stack, and check it.
func (w *rewriter) pay(a *asm) {
	a.op(opI64Sub)
	a.setGlobal(w.fuel)
	a.getGlobal(w.fuel)
	a.i64(0)
	a.op(opI64LtS, opIf, emptyBlock)
	a.call(w.slow)
	a.op(opEnd)
}
