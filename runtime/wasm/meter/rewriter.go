package meter

import "bytes"

// hostFuncs is the number of functions imported from HostModule.
const hostFuncs = 2

var (
	refillType = funcType{params: []byte{typeI64, typeI64}, results: []byte{typeI64}}
	growType   = funcType{params: []byte{typeI64}}
)

// rewriter turns one module into its metered form. It renumbers nothing of the guest's except
// functions: types, globals, a table and helper functions are appended after the guest's own,
// and the two imports shift the functions that it defines by two.
type rewriter struct {
	m    *module
	opts Options

	fuel, stack  uint32 // globals
	refill, grow uint32 // imported functions
	slow         uint32 // the first helper

	newTypes  []funcType
	typeCache map[string]uint32
	helpers   []helper
	helperOf  map[helperKey]uint32

	placement placement
	startFunc uint32 // the function of StartExport, if hasStart
	hasStart  bool

	refs     []uint32          // functions that bodies refer to, by their new indexes
	refOf    map[uint32]uint32 // the index of each in refs
	declared map[uint32]bool   // functions that are named outside bodies

	// work is the rest of the steps that are not in proportion to bytes: a branch of two bytes
	// can carry a thousand values, and two bytes can declare thousands of locals.
	work    int
	scratch []byte // one function's output
	err     error
}

func newRewriter(m *module, opts Options) *rewriter {
	w := &rewriter{m: m, opts: opts, typeCache: map[string]uint32{}, helperOf: map[helperKey]uint32{}, refOf: map[uint32]uint32{}, declared: map[uint32]bool{}}
	w.fuel, w.stack = uint32(m.globals), uint32(m.globals)+1
	w.refill, w.grow = uint32(m.importedFuncs), uint32(m.importedFuncs)+1
	w.slow = uint32(len(m.funcs)) + hostFuncs
	w.addSlow()
	return w
}

func (w *rewriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// shift returns the new index of function i.
func (w *rewriter) shift(i uint32) uint32 {
	if int(i) >= w.m.importedFuncs {
		return i + hostFuncs
	}
	return i
}

// funcIndex checks and shifts a function index that r has just read.
func (w *rewriter) funcIndex(r *reader, i uint32) uint32 {
	if int64(i) >= int64(len(w.m.funcs)) {
		r.fail("function index %d, want less than %d", i, len(w.m.funcs))
		return 0
	}
	return w.shift(i)
}

// typeOf returns the index of t, which is appended if it is new.
func (w *rewriter) typeOf(t funcType) uint32 {
	key := string(t.params) + ">" + string(t.results)
	i, ok := w.typeCache[key]
	if !ok {
		i = uint32(len(w.m.types) + len(w.newTypes))
		w.newTypes = append(w.newTypes, t)
		w.typeCache[key] = i
	}
	return i
}

// rewrite assembles the sections. Code comes before the sections whose content it determines:
// helpers and types.
func (w *rewriter) rewrite(size int) ([]byte, error) {
	globals := w.rewriteGlobals()
	if w.err != nil {
		return nil, w.err
	}
	w.work = workAtLeast + workPerByte*size
	bodies := w.rewriteBodies(size)
	elements, data := w.rewriteElements(), w.rewriteData()
	w.addStart()
	content := map[byte][]byte{
		secImport:    w.rewriteImports(),
		secFunction:  w.rewriteFunctions(),
		secTable:     w.rewriteTables(),
		secMemory:    w.m.sections[secMemory].content,
		secGlobal:    globals,
		secExport:    w.rewriteExports(),
		secElement:   elements,
		secDataCount: w.dataCount(),
		secCode:      w.rewriteCode(bodies),
		secData:      data,
	}
	content[secType] = w.rewriteTypes() // after everything that may add one
	w.checkRefs()
	if w.err != nil {
		return nil, w.err
	}
	total := 8
	for _, c := range content {
		total += len(c) + 6
	}
	names := w.rewriteNames()
	out := make([]byte, 0, total+len(names)+6)
	out = append(out, "\x00asm\x01\x00\x00\x00"...)
	for _, id := range order {
		out = appendSection(out, id, content[id])
	}
	return appendSection(out, secCustom, names), nil
}

func (w *rewriter) rewriteTypes() []byte {
	body, n := w.vector(secType)
	out := appendU(nil, uint64(n+len(w.newTypes)))
	out = append(out, body...)
	for _, t := range w.newTypes {
		out = append(out, 0x60)
		out = appendName(out, string(t.params))
		out = appendName(out, string(t.results))
	}
	return out
}

func (w *rewriter) rewriteFunctions() []byte {
	body, n := w.vector(secFunction)
	out := appendU(nil, uint64(n+len(w.helpers)))
	out = append(out, body...)
	for _, h := range w.helpers {
		out = appendU(out, uint64(w.typeOf(h.typ)))
	}
	return out
}

// rewriteGlobals adds fuel, which starts empty so that the first check calls the host, and
// stack, which starts full.
func (w *rewriter) rewriteGlobals() []byte {
	r := w.m.sections[secGlobal].reader()
	n := 0
	var body bytes.Buffer
	if !r.done() {
		n = r.count("globals")
	}
	for range n {
		start := r.p
		w.m.globalTypes = append(w.m.globalTypes, r.valueType())
		r.mutability()
		body.Write(r.b[min(start, len(r.b)):r.p])
		body.Write(w.constExpr(r))
	}
	if r.err == nil && !r.done() {
		r.fail("global section: trailing bytes")
	}
	w.fail(r.err)
	out := append(appendU(nil, uint64(n+2)), body.Bytes()...)
	for _, v := range []int64{0, w.opts.Stack} {
		out = append(out, typeI64, 1, opI64Const)
		out = append(appendS(out, v), opEnd)
	}
	return out
}
