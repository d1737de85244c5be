package meter

import "unicode/utf8"

// Subsections of the name section that are kept. Names of locals and labels are not kept:
// nothing shows them.
const (
	namesModule    = 0
	namesFunctions = 1
)

// rewriteNames returns the name section with function names under their new indexes, so that
// the stack of a trap shows the names of the guest's source. Names cannot make a module
// invalid: malformed ones are dropped.
func (w *rewriter) rewriteNames() []byte {
	if w.m.names == nil {
		return nil
	}
	out := appendName(nil, "name")
	r := &reader{b: w.m.names}
	for !r.done() {
		id := r.byte()
		content := r.take(r.u32())
		if r.err != nil {
			break
		}
		switch id {
		case namesModule:
			inner := &reader{b: content}
			if name := inner.name(); inner.err == nil && inner.done() && utf8.Valid(name) {
				out = appendSection(out, id, content)
			}
		case namesFunctions:
			out = appendSection(out, id, w.functionNames(content))
		}
	}
	return out
}

func (w *rewriter) functionNames(content []byte) []byte {
	r := &reader{b: content}
	announced := r.count("names")
	entries := make([]byte, 0, len(content)+len(content)/8)
	n, next := 0, uint64(0)
	put := func(i uint32, name string) {
		entries = appendName(appendU(entries, uint64(i)), name)
		n++
	}
	ours := func() {
		put(w.refill, ExportPrefix+RefillImport)
		put(w.grow, ExportPrefix+GrowImport)
	}
	inserted := false
	for range announced {
		i := r.u32()
		name := r.name()
		if r.err != nil || !utf8.Valid(name) || uint64(i) < next || int64(i) >= int64(len(w.m.funcs)) {
			break
		}
		next = uint64(i) + 1
		if !inserted && int(i) >= w.m.importedFuncs {
			ours()
			inserted = true
		}
		put(w.shift(i), string(name))
	}
	if !inserted {
		ours()
	}
	for i, h := range w.helpers {
		put(w.slow+uint32(i), ExportPrefix+h.name)
	}
	return append(appendU(make([]byte, 0, len(entries)+5), uint64(n)), entries...)
}
