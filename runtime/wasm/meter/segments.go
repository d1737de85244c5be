package meter

// constExpr reads a constant expression, with its end, and returns it with functions
// renumbered. The result aliases the module if nothing changed.
func (w *rewriter) constExpr(r *reader) []byte {
	start := r.p
	var out []byte
	for r.err == nil {
		at := r.p
		switch op := r.byte(); op {
		case opEnd:
			if r.err != nil {
				return nil
			}
			if out == nil {
				return r.b[start:r.p:r.p]
			}
			return append(out, r.b[start:r.p]...)
		case opI32Const:
			r.leb(5, 32, true)
		case opI64Const:
			r.leb(10, 64, true)
		case opF32Const:
			r.take(4)
		case opF64Const:
			r.take(8)
		case opVector:
			if code := r.u32(); code != vectorConst {
				r.fail("vector opcode %d in a constant expression", code)
			}
			r.take(16)
		case opGlobalGet:
			if i := r.u32(); int64(i) >= int64(w.m.globals) {
				r.fail("global index %d, want less than %d", i, w.m.globals)
			}
		case opRefNull:
			r.byte()
		case opRefFunc:
			i := w.funcIndex(r, r.u32())
			if r.err != nil {
				return nil
			}
			w.declare(i)
			out = append(out, r.b[start:at]...)
			out = appendU(append(out, opRefFunc), uint64(i))
			start = r.p
		default:
			r.fail("opcode 0x%02x in a constant expression", op)
		}
	}
	return nil
}

// rewriteElements renumbers the functions of element segments. A segment's flags: bit 0 passive
// or declared, bit 1 a table index (or declared), bit 2 expressions instead of function
// indexes.
func (w *rewriter) rewriteElements() []byte {
	s := w.m.sections[secElement]
	if s.content == nil && len(w.refs) == 0 {
		return nil
	}
	r, n, added := s.reader(), 0, 0
	if s.content != nil {
		n = r.count("element segments")
	}
	if len(w.refs) > 0 {
		added = 1
	}
	out := make([]byte, 0, len(s.content)+len(s.content)/4)
	out = appendU(out, uint64(n+added))
	w.placement.late = false
	for i := range n {
		out = w.rewriteElement(r, i, out)
		if r.err != nil {
			break
		}
	}
	if r.err == nil && !r.done() {
		r.fail("element section: trailing bytes")
	}
	w.fail(r.err)
	if added > 0 {
		out = w.refSegment(out)
	}
	return out
}

// rewriteElement appends element segment i.
func (w *rewriter) rewriteElement(r *reader, i int, out []byte) []byte {
	flags := r.u32()
	if flags > 7 {
		r.fail("unknown element segment 0x%02x", flags)
	}
	t := uint32(0)
	switch flags & 3 {
	case 0:
		if len(w.m.tables) == 0 {
			r.fail("element segment, but the module has no table")
		}
	case 2:
		t = w.tableIndex(r)
	}
	var offset []byte
	if flags&1 == 0 {
		offset = w.constExpr(r)
	}
	kind := byte(0) // element kind or reference type
	if flags&3 != 0 {
		kind = r.byte()
	} else if flags&4 != 0 {
		kind = typeFunc
	}
	items := r.count("elements")
	if r.err != nil {
		return out
	}
	size, defined := w.leastEntries(t), int(t) >= w.m.importedTables
	if flags&1 != 0 || w.placement.byEngine(offset, uint64(items), size) {
		out = appendU(out, uint64(flags))
		if flags&3 == 2 {
			out = appendU(out, uint64(t))
		}
		out = append(out, offset...)
		if flags&3 != 0 {
			out = append(out, kind)
		}
	} else {
		out = append(out, byte(flags&4|1), kind)
		s := segment{index: i, offset: offset, n: uint64(items), size: size, defined: defined, drop: miscElemDrop}
		w.place(s, func(a *asm) {
			if w.m.tables[t].typ != typeFunc { // the engine supports only passive segments of functions
				a.op(opRefNull, w.m.tables[t].typ)
				a.i32(int32(items))
				a.op(opMisc, miscTableFill)
				a.b = appendU(a.b, uint64(t))
				return
			}
			a.i32(0)
			a.i32(int32(items))
			a.op(opMisc, miscTableInit)
			a.b = appendU(appendU(a.b, uint64(i)), uint64(t))
		})
	}
	out = appendU(out, uint64(items))
	for j := 0; j < items && r.err == nil; j++ {
		if flags&4 != 0 {
			out = append(out, w.constExpr(r)...)
		} else {
			f := w.funcIndex(r, r.u32())
			w.declare(f)
			out = appendU(out, uint64(f))
		}
	}
	return out
}

// leastEntries returns the initial size of a table, or less if it is imported.
func (w *rewriter) leastEntries(t uint32) uint64 {
	if int(t) < len(w.m.tables) {
		return w.m.tables[t].min
	}
	return 0
}

// tableIndex reads the index of one of the guest's tables.
func (w *rewriter) tableIndex(r *reader) uint32 {
	i := r.u32()
	if r.err == nil && int64(i) >= int64(len(w.m.tables)) {
		r.fail("table index %d, want less than %d", i, len(w.m.tables))
	}
	return i
}

// rewriteData returns the data section, in which nothing is renumbered.
func (w *rewriter) rewriteData() []byte {
	s := w.m.sections[secData]
	if s.content == nil {
		return nil
	}
	r := s.reader()
	n := r.count("data segments")
	out := make([]byte, 0, len(s.content)+8)
	out = appendU(out, uint64(n))
	w.placement.late = false
	for i := range n {
		out = w.rewriteDatum(r, i, out)
		if r.err != nil {
			break
		}
	}
	if r.err == nil && !r.done() {
		r.fail("data section: trailing bytes")
	}
	w.fail(r.err)
	return out
}

// rewriteDatum appends data segment i.
func (w *rewriter) rewriteDatum(r *reader, i int, out []byte) []byte {
	start := r.p
	flags := r.u32()
	var offset []byte
	switch flags {
	case 0:
		offset = w.constExpr(r)
	case 1:
	case 2:
		if m := r.u32(); m != 0 {
			r.fail("memory index %d, want 0", m)
		}
		offset = w.constExpr(r)
	default:
		r.fail("unknown data segment 0x%02x", flags)
	}
	if flags != 1 && len(w.m.memories) == 0 {
		r.fail("module has no memory")
	}
	bytes := r.take(r.u32())
	if r.err != nil {
		return out
	}
	if flags == 1 {
		return append(out, r.b[start:r.p]...)
	}
	size := w.m.memories[0].min << 16
	if w.placement.byEngine(offset, uint64(len(bytes)), size) {
		if w.initsData(uint32(i)) {
			w.placement.drop(miscDataDrop, i)
		}
		return append(out, r.b[start:r.p]...)
	}
	w.place(segment{index: i, offset: offset, n: uint64(len(bytes)), size: size, defined: w.m.importedMemories == 0, drop: miscDataDrop}, func(a *asm) {
		a.i32(0)
		a.i32(int32(len(bytes)))
		a.op(opMisc, miscMemoryInit)
		a.b = append(appendU(a.b, uint64(i)), 0)
	})
	return appendName(append(out, 1), string(bytes))
}

// dataCount returns the section that the engine needs if code names data segments.
func (w *rewriter) dataCount() []byte {
	if s := w.m.sections[secDataCount]; s.content != nil || len(w.placement.b) == 0 || w.m.sections[secData].content == nil {
		return s.content
	}
	return appendU(nil, uint64(w.m.sections[secData].reader().u32()))
}

// initsData reports whether a body names data segment i in memory.init.
func (w *rewriter) initsData(i uint32) bool {
	_, ok := w.helperOf[helperKey{op: miscMemoryInit, a: i}]
	return ok
}
