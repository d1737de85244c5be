package meter

import (
	"fmt"
	"strings"
)

// External kinds, in imports and exports.
const (
	externFunc   = 0
	externTable  = 1
	externMemory = 2
	externGlobal = 3
)

func (m *module) readImports(r *reader) {
	for range r.count("imports") {
		if string(r.name()) == HostModule && r.err == nil {
			r.err = fmt.Errorf("import from %q: %w", HostModule, ErrReserved)
		}
		r.name()
		switch kind := r.byte(); kind {
		case externFunc:
			m.funcs = append(m.funcs, m.typeIndex(r))
		case externTable:
			m.tables = append(m.tables, r.table())
		case externMemory:
			m.memories = append(m.memories, r.limits())
		case externGlobal:
			m.globalTypes = append(m.globalTypes, r.valueType())
			r.mutability()
			m.globals++
		default:
			r.fail("unknown import kind %d", kind)
		}
		if r.err != nil {
			return
		}
	}
	m.importedFuncs, m.importedTables, m.importedMemories = len(m.funcs), len(m.tables), len(m.memories)
}

func (r *reader) mutability() {
	if c := r.byte(); c > 1 {
		r.fail("unknown mutability %d of a global", c)
	}
}

// rewriteImports appends the host's functions: they become the functions importedFuncs and
// importedFuncs+1.
func (w *rewriter) rewriteImports() []byte {
	body, n := w.vector(secImport)
	out := appendU(nil, uint64(n+hostFuncs))
	out = append(out, body...)
	for _, f := range []struct {
		name string
		typ  funcType
	}{{RefillImport, refillType}, {GrowImport, growType}} {
		out = appendName(out, HostModule)
		out = appendName(out, f.name)
		out = append(out, externFunc)
		out = appendU(out, uint64(w.typeOf(f.typ)))
	}
	return out
}

// vector returns a section's entries as bytes, and their number.
func (w *rewriter) vector(id byte) ([]byte, int) {
	s := w.m.sections[id]
	if s.content == nil {
		return nil, 0
	}
	r := s.reader()
	n := r.u32()
	return s.content[r.p:], int(n)
}

// rewriteExports renumbers functions and adds the counters and the start function.
func (w *rewriter) rewriteExports() []byte {
	r := w.m.sections[secExport].reader()
	n := 0
	var entries []byte
	if !r.done() {
		n = r.count("exports")
	}
	for range n {
		name := r.name()
		kind := r.byte()
		i := r.u32()
		if r.err == nil && strings.HasPrefix(string(name), ExportPrefix) {
			r.err = fmt.Errorf("export %q: %w", name, ErrReserved)
		}
		if kind > externGlobal {
			r.fail("unknown export kind %d", kind)
		}
		if kind == externGlobal && int64(i) >= int64(w.m.globals) {
			r.fail("global index %d, want less than %d", i, w.m.globals)
		}
		if kind == externTable && int64(i) >= int64(len(w.m.tables)) {
			r.fail("table index %d, want less than %d", i, len(w.m.tables))
		}
		if kind == externFunc {
			i = w.funcIndex(r, i)
			w.declare(i)
		}
		if r.err != nil {
			break
		}
		entries = appendName(entries, string(name))
		entries = append(entries, kind)
		entries = appendU(entries, uint64(i))
	}
	if r.err == nil && !r.done() {
		r.fail("export section: trailing bytes")
	}
	w.fail(r.err)
	add := func(name string, kind byte, index uint32) {
		n++
		entries = appendName(entries, name)
		entries = append(entries, kind)
		entries = appendU(entries, uint64(index))
	}
	add(FuelExport, externGlobal, w.fuel)
	add(StackExport, externGlobal, w.stack)
	if w.hasStart {
		add(StartExport, externFunc, w.startFunc)
	}
	return append(appendU(nil, uint64(n)), entries...)
}
