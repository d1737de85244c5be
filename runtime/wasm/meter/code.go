package meter

// codeHead is room for the number of functions, which is known at the end.
const codeHead = 5

// rewriteBodies analyses and emits one function after another.
func (w *rewriter) rewriteBodies(size int) []byte {
	defined := len(w.m.funcs) - w.m.importedFuncs
	out := make([]byte, codeHead, codeHead+size+size/3+1024)
	r := &reader{}
	if s := w.m.sections[secCode]; s.content != nil {
		r = s.reader()
		if n := r.u32(); r.err == nil && int64(n) != int64(defined) {
			r.fail("code section has %d bodies for %d functions", n, defined)
		}
	} else if defined > 0 {
		w.fail(&MalformedError{Func: -1, What: "functions without bodies"})
		return nil
	}
	b := &body{w: w}
	for i := 0; i < defined && r.err == nil; i++ {
		n := r.u32()
		base := r.base + r.p
		src := section{content: r.take(n), base: base}
		if r.err != nil {
			break
		}
		index := w.m.importedFuncs + i
		if err := b.analyse(uint32(index), w.m.types[w.m.funcs[index]], src); err != nil {
			w.fail(err)
			return nil
		}
		out = b.emit(out)
	}
	if r.err == nil && !r.done() {
		r.fail("code section: trailing bytes")
	}
	if r.err != nil {
		w.fail(r.err)
		return nil
	}
	return out
}

// rewriteCode appends the helpers to the guest's functions.
func (w *rewriter) rewriteCode(bodies []byte) []byte {
	if w.err != nil {
		return nil
	}
	out := bodies
	for _, h := range w.helpers {
		out = appendName(out, string(h.code))
	}
	count := appendU(nil, uint64(len(w.m.funcs)-w.m.importedFuncs+len(w.helpers)))
	start := codeHead - len(count)
	copy(out[start:], count)
	return out[start:]
}
