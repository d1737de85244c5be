package meter

// rewriteCode analyses and emits one function after another, then the helpers.
func (w *rewriter) rewriteCode(size int) []byte {
	defined := len(w.m.funcs) - w.m.importedFuncs
	const head = 5 // room for the number of functions, known at the end
	out := make([]byte, head, head+size+size/3+1024)
	r := &reader{}
	if s := w.m.sections[secCode]; s.content != nil {
		r = s.reader()
		if n := r.u32(); r.err == nil && int64(n) != int64(defined) {
			r.fail("%d bodies for %d functions", n, defined)
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
		r.fail("code section is longer than what it holds")
	}
	if r.err != nil {
		w.fail(r.err)
		return nil
	}
	for _, h := range w.helpers {
		out = appendName(out, string(h.code))
	}
	count := appendU(nil, uint64(defined+len(w.helpers)))
	start := head - len(count)
	copy(out[start:], count)
	return out[start:]
}
