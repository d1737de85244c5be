package meter

// Section numbers.
const (
	secCustom    = 0
	secType      = 1
	secImport    = 2
	secFunction  = 3
	secTable     = 4
	secMemory    = 5
	secGlobal    = 6
	secExport    = 7
	secStart     = 8
	secElement   = 9
	secCode      = 10
	secData      = 11
	secDataCount = 12
)

// order is the order in which sections may appear; custom sections may be anywhere.
var order = []byte{
	secType, secImport, secFunction, secTable, secMemory, secGlobal,
	secExport, secStart, secElement, secDataCount, secCode, secData,
}

// rank maps a section to its position in order, counted from 1; 0 for an unknown section.
var rank = func() (r [256]uint8) {
	for i, id := range order {
		r[id] = uint8(i + 1)
	}
	return
}()

// section is a section's content and its offset in the module.
type section struct {
	content []byte
	base    int
}

func (s section) reader() *reader { return &reader{b: s.content, base: s.base} }

// module holds what the rewriter needs to know about a module. Index spaces hold imports first,
// in the order of the specification.
type module struct {
	sections [secDataCount + 1]section
	names    []byte // content of the name section after its own name, or nil

	types                            []funcType
	importedFuncs                    int
	importedTables, importedMemories int
	funcs                            []uint32 // type of each function
	tables                           []table
	memories                         []limits
	globals                          int
	globalTypes                      []byte // without imports until rewriteGlobals has run
	start                            int64  // index of the start function, -1 for none
}

type table struct {
	typ byte
	limits
}

// Limits of a module, so that time and memory used here are in proportion to its size. Those
// with a * are the limits of web browsers, which the output of compilers stays within.
const (
	maxLocals    = 50_000    // * of one function, parameters included
	maxBody      = 7_654_321 // * bytes of one function
	maxArity     = 1_000     // * parameters, and results, of one type
	maxFunctions = 1_000_000 // *
	maxNesting   = 100_000   // nested blocks
	maxHelpers   = 10_000    // distinct bulk operations: one per segment and table used
	workPerByte  = 32        // see rewriter.work
	workAtLeast  = 1 << 20
)

func decode(b []byte) (*module, error) {
	m := &module{start: -1}
	r := &reader{b: b}
	if string(r.take(8)) != "\x00asm\x01\x00\x00\x00" {
		return nil, &MalformedError{Func: -1, What: "not a WebAssembly module of version 1"}
	}
	last := uint8(0)
	for !r.done() && r.err == nil {
		id := r.byte()
		n := r.u32()
		s := section{base: r.p}
		s.content = r.take(n)
		if r.err != nil {
			break
		}
		if id == secCustom {
			m.custom(s)
			continue
		}
		if rank[id] == 0 {
			r.fail("unknown section %d", id)
		} else if rank[id] <= last {
			r.fail("section %d is repeated or out of order", id)
		} else {
			last = rank[id]
			m.sections[id] = s
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, m.index()
}

// index reads the sections that define index spaces, in the order of the spaces.
func (m *module) index() error {
	for _, step := range []struct {
		id   byte
		read func(*reader)
	}{
		{secType, m.readTypes},
		{secImport, m.readImports},
		{secFunction, m.readFunctions},
		{secTable, m.readTables},
		{secMemory, m.readMemories},
		{secGlobal, func(r *reader) { m.globals += r.count("globals") }},
		{secStart, func(r *reader) { m.start = int64(r.u32()) }},
		{secDataCount, func(r *reader) { r.u32() }}, // the engine checks it
	} {
		s := m.sections[step.id]
		if s.content == nil {
			continue
		}
		r := s.reader()
		step.read(r)
		if step.id != secGlobal && r.err == nil && !r.done() {
			// The initial values of globals are read later.
			r.fail("section %d: trailing bytes", step.id)
		}
		if r.err != nil {
			return r.err
		}
	}
	if m.start >= int64(len(m.funcs)) {
		return &MalformedError{Offset: m.sections[secStart].base, Func: -1, What: "start section names no function"}
	}
	if len(m.funcs) > maxFunctions {
		return &LimitError{What: "functions", Func: -1, Max: maxFunctions}
	}
	return nil
}

func (m *module) readTypes(r *reader) {
	n := r.count("types")
	m.types = make([]funcType, 0, min(n, 1<<16))
	for range n {
		if c := r.byte(); c != 0x60 {
			r.fail("unknown type form 0x%02x", c)
		}
		t := funcType{params: r.valueTypes(), results: r.valueTypes()}
		if r.err == nil && max(len(t.params), len(t.results)) > maxArity {
			r.err = &LimitError{What: "parameters or results", Func: -1, Max: maxArity}
		}
		if r.err != nil {
			return
		}
		m.types = append(m.types, t)
	}
}

func (m *module) typeIndex(r *reader) uint32 {
	i := r.u32()
	if r.err == nil && int(i) >= len(m.types) {
		r.fail("type index %d, want less than %d", i, len(m.types))
		return 0
	}
	return i
}

func (m *module) readFunctions(r *reader) {
	n := r.count("functions")
	for range n {
		m.funcs = append(m.funcs, m.typeIndex(r))
		if r.err != nil {
			return
		}
	}
}

func (m *module) readTables(r *reader) {
	for range r.count("tables") {
		m.tables = append(m.tables, r.table())
	}
}

func (r *reader) table() table {
	t := table{typ: r.byte()}
	if r.err == nil && !isReference(t.typ) {
		r.fail("unknown reference type 0x%02x", t.typ)
	}
	t.limits = r.limits()
	return t
}

func (m *module) readMemories(r *reader) {
	for range r.count("memories") {
		m.memories = append(m.memories, r.limits())
	}
	if len(m.memories) > 1 {
		r.fail("module has more than one memory")
	}
}

// custom keeps the name section. A custom section cannot make a module invalid, so a malformed
// one is dropped like the others.
func (m *module) custom(s section) {
	r := s.reader()
	if string(r.name()) == "name" && r.err == nil && m.names == nil {
		m.names = r.b[r.p:]
	}
}
