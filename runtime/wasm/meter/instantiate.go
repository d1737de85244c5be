package meter

// Active segments are applied when a module is instantiated: elements first, then data, each in
// order, and one that does not fit is a trap. wazero 1.12 applies data first; if an element
// segment does not fit, it skips that one and all later ones, the table of references too, and
// continues. So a segment that may not fit becomes passive, with all later ones of its section,
// and the start function applies them. It also drops the active data segments that memory.init
// names: wazero would keep them.

// placement is the code that applies the segments which the engine must not apply.
type placement struct {
	asm
	placed int  // segments that the code applies
	late   bool // a segment of this section may not fit
	never  bool // a segment does not fit: later ones are not reached
}

// byEngine reports whether the engine may apply an active segment of n items to a table or
// memory that has at least size items, and exactly size if the module defines it.
func (p *placement) byEngine(offset []byte, n, size uint64) bool {
	at, known := constOffset(offset)
	p.late = p.late || !known || at+n > size
	return !p.late
}

// constOffset returns the value of an offset expression, if that is a constant.
func constOffset(expr []byte) (uint64, bool) {
	r := &reader{b: expr}
	if r.byte() != opI32Const {
		return 0, false
	}
	v := r.leb(5, 32, true)
	return uint64(uint32(v)), r.byte() == opEnd && r.err == nil && r.done()
}

// segment is a segment that the start function applies.
type segment struct {
	index   int
	offset  []byte // expression, with its end
	n, size uint64 // items, and the least size of the table or memory
	defined bool   // size is exact
	drop    byte
}

// place appends the code that applies s. The caller appends the operands after the offset, and
// the instruction.
func (w *rewriter) place(s segment, code func(a *asm)) {
	p := &w.placement
	if p.never || w.err != nil {
		return
	}
	if p.placed++; p.placed > maxHelpers {
		w.fail(&LimitError{What: "segments that may not fit", Func: -1, Max: maxHelpers})
		return
	}
	p.op(s.offset[:len(s.offset)-1]...)
	code(&p.asm)
	p.drop(s.drop, s.index)
	at, known := constOffset(s.offset)
	p.never = s.defined && known && at+s.n > s.size
}

func (p *placement) drop(op byte, i int) {
	p.op(opMisc, op)
	p.b = appendU(p.b, uint64(i))
}

// addStart adds the function that applies segments, and then calls the guest's own start
// function, if there is one. It is not charged: neither is the engine's own work.
func (w *rewriter) addStart() {
	if len(w.placement.b) == 0 {
		if w.m.start >= 0 {
			w.startFunc, w.hasStart = w.shift(uint32(w.m.start)), true
		}
		return
	}
	a := asm{b: append([]byte{0}, w.placement.b...)} // no locals
	if w.m.start >= 0 {
		a.call(w.shift(uint32(w.m.start)))
	}
	a.op(opEnd)
	w.startFunc, w.hasStart = w.slow+uint32(len(w.helpers)), true
	w.helpers = append(w.helpers, helper{name: "start", code: a.b})
}
