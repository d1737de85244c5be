package meter

// References to functions. The engine creates a new one at each ref.func, and keeps it as long
// as the instance: a guest in a loop would fill the machine's memory, a GiB for about 10^7 of
// them, outside all limits. So the functions that bodies refer to get their own table after the
// guest's, which the engine fills once, and ref.func reads from it.

// ref returns the index in that table of function i, by its new index.
func (w *rewriter) ref(i uint32) uint32 {
	at, ok := w.refOf[i]
	if !ok {
		at = uint32(len(w.refs))
		w.refs, w.refOf[i] = append(w.refs, i), at
	}
	return at
}

// declare records that function i, by its new index, is named outside bodies: only such
// functions may be referred to in bodies.
func (w *rewriter) declare(i uint32) { w.declared[i] = true }

// checkRefs fails if a body refers to a function that is not declared, which the engine can no
// longer check.
func (w *rewriter) checkRefs() {
	for _, i := range w.refs {
		if !w.declared[i] {
			w.fail(&MalformedError{Func: -1, What: "ref.func names an undeclared function"})
			return
		}
	}
}

// refTable returns the index of the table.
func (w *rewriter) refTable() uint32 { return uint32(len(w.m.tables)) }

func (w *rewriter) rewriteTables() []byte {
	if len(w.refs) == 0 {
		return w.m.sections[secTable].content
	}
	body, n := w.vector(secTable)
	out := append(appendU(nil, uint64(n+1)), body...)
	out = append(out, typeFunc, 1)
	out = appendU(out, uint64(len(w.refs)))
	return appendU(out, uint64(len(w.refs)))
}

// refSegment appends the element segment that fills the table.
func (w *rewriter) refSegment(out []byte) []byte {
	out = appendU(append(out, 2), uint64(w.refTable()))
	out = append(out, opI32Const, 0, opEnd, 0)
	out = appendU(out, uint64(len(w.refs)))
	for _, i := range w.refs {
		out = appendU(out, uint64(i))
	}
	return out
}
