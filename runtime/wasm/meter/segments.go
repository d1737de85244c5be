package meter

// constExpr reads a constant expression, with its end, and returns it with functions
// renumbered. The result aliases the module where nothing changed.
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
				r.fail("global %d of %d", i, w.m.globals)
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

// rewriteElements renumbers the functions of element segments. A segment's flags:
// bit 0 passive or declared, bit 1 a table index (or declared), bit 2 expressions in
// place of function indexes.
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
	for range n {
		flags := r.u32()
		if flags > 7 {
			r.fail("unknown element segment 0x%02x", flags)
		}
		out = appendU(out, uint64(flags))
		switch flags & 3 {
		case 0:
			if len(w.m.tables) == 0 {
				r.fail("an element segment for table 0 of 0")
			}
		case 2:
			out = appendU(out, uint64(w.tableIndex(r)))
		}
		if flags&1 == 0 {
			out = append(out, w.constExpr(r)...)
		}
		if flags&3 != 0 {
			out = append(out, r.byte()) // element kind or reference type
		}
		items := r.count("elements")
		out = appendU(out, uint64(items))
		for i := 0; i < items && r.err == nil; i++ {
			if flags&4 != 0 {
				out = append(out, w.constExpr(r)...)
			} else {
				f := w.funcIndex(r, r.u32())
				w.declare(f)
				out = appendU(out, uint64(f))
			}
		}
		if r.err != nil {
			break
		}
	}
	if r.err == nil && !r.done() {
		r.fail("element section is longer than what it holds")
	}
	w.fail(r.err)
	if added > 0 {
		out = w.refSegment(out)
	}
	return out
}

// tableIndex reads the index of one of the guest's tables.
func (w *rewriter) tableIndex(r *reader) uint32 {
	i := r.u32()
	if r.err == nil && int64(i) >= int64(len(w.m.tables)) {
		r.fail("table %d of %d", i, len(w.m.tables))
	}
	return i
}

// checkData reads the data section, which stays as it is.
func (w *rewriter) checkData() []byte {
	s := w.m.sections[secData]
	if s.content == nil {
		return nil
	}
	r := s.reader()
	for range r.count("data segments") {
		switch flags := r.u32(); flags {
		case 0:
			w.constExpr(r)
		case 1:
		case 2:
			if i := r.u32(); i != 0 {
				r.fail("memory %d", i)
			}
			w.constExpr(r)
		default:
			r.fail("unknown data segment 0x%02x", flags)
		}
		r.take(r.u32())
		if r.err != nil {
			break
		}
	}
	if r.err == nil && !r.done() {
		r.fail("data section is longer than what it holds")
	}
	w.fail(r.err)
	return s.content
}
