package wasm

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Limits of a module, checked on its bytes before anything is compiled: a compiler's
// allocations depend on these counts, not on the module's size.
const (
	maxFunctions    = 100_000 // including imported ones
	maxLocals       = 50_000  // of one function, without its parameters
	maxAllLocals    = 5_000_000
	maxTableEntries = 20_000 // of all tables, in addition to one entry per function
	maxTables       = 100
	maxVector       = 100_000 // types, imports, globals, exports, element and data segments each
	maxElementBytes = 8 << 20 // of the element section
	maxImports      = 1_000
	maxName         = 4 << 10 // bytes of the name of an import or an export
	maxSignature    = 1_000   // parameters of a type, and its results
	maxSignatures   = 100_000 // parameters and results of all types
)

// The sections of a module.
const (
	sectionCustom   = 0
	sectionType     = 1
	sectionImport   = 2
	sectionFunction = 3
	sectionTable    = 4
	sectionMemory   = 5
	sectionGlobal   = 6
	sectionExport   = 7
	sectionStart    = 8
	sectionElement  = 9
	sectionCode     = 10
	sectionData     = 11
	sectionCount    = 12
)

// The kinds of imports and exports.
const (
	kindFunc   = 0
	kindTable  = 1
	kindMemory = 2
	kindGlobal = 3
)

var kindNames = []string{"function", "table", "memory", "global"}

// funcType is a function's type, as the bytes of its value types.
type funcType struct{ params, results string }

func (t funcType) String() string {
	return "(" + valueTypes(t.params) + ") -> (" + valueTypes(t.results) + ")"
}

func valueTypes(ts string) string {
	var b []byte
	for i := range len(ts) {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, api.ValueTypeName(ts[i])...)
	}
	return string(b)
}

// importedFunc is a function that a module imports.
type importedFunc struct {
	module, name string
	typ          funcType
}

// scan holds the content of a module's sections.
type scan struct {
	types     []funcType
	values    int      // parameters and results of all types
	funcs     []uint32 // type index of every function, imported ones first
	imports   []importedFunc
	exports   map[string]export
	memories  int
	minPages  uint32
	maxPages  uint32 // job.MaxPages if the module sets none
	tables    int
	entries   uint64 // minimum of all tables
	openTable bool   // a table declares no maximum
	tableSec  [2]int // start and end of the table section in the module, with id and size
	codeSec   []byte // the code section after its count; aliases the module
	counts    [sectionCount + 1]uint32
	custom    []string // names of the custom sections
	names     []byte   // the content of the section "name", not parsed; aliases the module
	locals    uint64   // of all functions together
	uses      uses     // set by checkCode
}

type export struct {
	kind  byte
	index uint32
}

// refuse turns an error of the scan into a refusal.
func refuse(err error) error {
	var r *runtime.RefusedError
	if errors.As(err, &r) {
		return r
	}
	return runtime.Refusef("not a valid module: %v", err)
}

// scanModule reads the sections of module b and checks its limits. It does not validate
// instructions: the compiler does. An error is a *runtime.RefusedError.
func scanModule(b []byte) (*scan, error) {
	if err := checkMagic(b); err != nil {
		return nil, err
	}
	s := &scan{exports: map[string]export{}}
	r := &reader{b: b[8:]}
	last := 0
	for len(r.b) > 0 {
		start := len(b) - len(r.b)
		id := r.byte()
		body := &reader{b: r.take(r.u32())}
		if r.err != nil {
			return nil, refuse(r.err)
		}
		if id != sectionCustom {
			rank := sectionRank(id)
			if rank <= last {
				return nil, refuse(fmt.Errorf("section %d out of order", id))
			}
			last = rank
		}
		if id == sectionTable {
			s.tableSec = [2]int{start, len(b) - len(r.b)}
		}
		if id == sectionCustom {
			s.customSection(body)
			continue
		}
		if err := s.section(id, body); err != nil {
			return nil, refuse(fmt.Errorf("section %d: %w", id, err))
		}
	}
	if most := uint64(maxTableEntries + len(s.funcs)); s.entries > most {
		return nil, runtime.Refusef("tables: got %d entries, want at most %d for %d functions", s.entries, most, len(s.funcs))
	}
	return s, nil
}

// sectionRank returns the position of a section: the data count section precedes the code.
func sectionRank(id byte) int {
	if id == sectionCount {
		return 2*sectionCode - 1
	}
	return 2 * int(id)
}

// checkMagic refuses files that are not core modules, with a hint for common mistakes.
func checkMagic(b []byte) error {
	switch {
	case len(b) == 0:
		return runtime.Refusef("module file is empty")
	case bytes.HasPrefix(b, []byte("\x00asm\x0d\x00\x01\x00")):
		return runtime.Refusef("a WebAssembly component; want a core module (for Rust: --target wasm32-wasip1)")
	case bytes.HasPrefix(b, []byte("\x00asm\x01\x00\x00\x00")):
		return nil
	case bytes.HasPrefix(b, []byte("\x00asm")) && len(b) >= 8:
		return runtime.Refusef("unknown version (%x) of the WebAssembly binary format", b[4:8])
	case bytes.HasPrefix([]byte("\x00asm\x01\x00\x00\x00"), b):
		return runtime.Refusef("%v", errTruncated)
	case bytes.HasPrefix(bytes.TrimLeft(b[:min(len(b), 4096)], " \t\r\n"), []byte("(module")):
		return runtime.Refusef("WebAssembly text; assemble it first (wat2wasm)")
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		return runtime.Refusef("a native program (ELF), not a WebAssembly module; compile it for wasm32-wasip1")
	case utf8.Valid(b[:min(len(b), 64)&^3]):
		return runtime.Refusef("text, not a WebAssembly module")
	}
	return runtime.Refusef("not a WebAssembly module (first bytes %x)", b[:min(len(b), 8)])
}

func (s *scan) section(id byte, r *reader) error {
	if id == sectionStart {
		return nil
	}
	if id > sectionCount {
		return runtime.Refusef("section of unknown kind %d", id)
	}
	n := r.u32()
	if r.err != nil {
		return r.err
	}
	s.counts[id] = n
	if id != sectionCode && id != sectionFunction && n > maxVector {
		return runtime.Refusef("section %d: got %d items, want at most %d", id, n, maxVector)
	}
	each := map[byte]func(*reader){
		sectionType: s.funcType, sectionImport: s.importItem, sectionTable: s.table,
		sectionMemory: s.memory, sectionExport: s.export,
	}[id]
	switch id {
	case sectionFunction:
		each = func(r *reader) { s.funcs = append(s.funcs, r.u32()) }
		if uint64(n)+uint64(len(s.funcs)) > maxFunctions {
			return runtime.Refusef("module has %d functions, want at most %d", uint64(n)+uint64(len(s.funcs)), maxFunctions)
		}
	case sectionCode:
		return s.code(n, r)
	case sectionElement:
		if len(r.b) > maxElementBytes {
			return runtime.Refusef("element section: got %d bytes, want at most %d", len(r.b), maxElementBytes)
		}
	}
	if each == nil {
		return nil
	}
	for i := uint32(0); i < n && r.err == nil; i++ {
		each(r)
	}
	if r.err == nil && len(r.b) > 0 {
		return fmt.Errorf("%d extra bytes at the end of the section", len(r.b))
	}
	return r.err
}

func (s *scan) funcType(r *reader) {
	if form := r.byte(); form != 0x60 && r.err == nil {
		r.fail(fmt.Errorf("unsupported type form %#x", form))
	}
	t := funcType{params: string(r.take(r.u32()))}
	t.results = string(r.take(r.u32()))
	s.types = append(s.types, t)
	if len(t.params) > maxSignature || len(t.results) > maxSignature {
		r.fail(runtime.Refusef("type %d: more than %d parameters or results", len(s.types)-1, maxSignature))
	}
	if s.values += len(t.params) + len(t.results); s.values > maxSignatures {
		r.fail(runtime.Refusef("types: more than %d parameters and results in total", maxSignatures))
	}
}

func (s *scan) importItem(r *reader) {
	module, name, kind := r.name(), r.name(), r.byte()
	if checkName(r, "import", module, name); r.err != nil {
		return
	}
	if len(s.imports) == maxImports {
		r.fail(runtime.Refusef("more than %d imports", maxImports))
		return
	}
	if kind != kindFunc {
		what := fmt.Sprintf("item of kind %d", kind)
		if int(kind) < len(kindNames) {
			what = kindNames[kind]
		}
		r.fail(runtime.Refusef("import of %s %q.%q; only functions can be imported", what, module, name))
		return
	}
	typ := r.u32()
	if int(typ) >= len(s.types) {
		r.fail(fmt.Errorf("import %q.%q of unknown type %d", module, name, typ))
		return
	}
	s.imports = append(s.imports, importedFunc{module, name, s.types[typ]})
	s.funcs = append(s.funcs, typ)
}

// checkName bounds the length of names, which are shown to users.
func checkName(r *reader, what string, names ...string) {
	for _, name := range names {
		if len(name) > maxName {
			r.fail(runtime.Refusef("%s: name of %d bytes, want at most %d", what, len(name), maxName))
		}
	}
}

// limits reads the size limits of a table or a memory.
func (r *reader) limits() (least, most uint32, bounded bool) {
	flags := r.byte()
	switch {
	case r.err != nil:
	case flags&2 != 0:
		r.fail(runtime.Refusef("shared memory in the module: threads are not supported"))
	case flags > 1:
		r.fail(runtime.Refusef("64-bit memory is not supported"))
	}
	least = r.u32()
	if flags&1 != 0 {
		most = r.u32()
	}
	return least, most, flags&1 != 0
}

func (s *scan) table(r *reader) {
	if t := r.byte(); t != api.ValueTypeExternref && t != 0x70 && r.err == nil {
		r.fail(fmt.Errorf("unsupported table type %#x", t))
	}
	least, most, bounded := r.limits()
	s.tables++
	s.entries += uint64(max(least, most))
	s.openTable = s.openTable || !bounded
	if s.tables > maxTables {
		r.fail(runtime.Refusef("more than %d tables", maxTables))
	}
}

func (s *scan) memory(r *reader) {
	least, most, bounded := r.limits()
	if !bounded {
		most = job.MaxPages
	}
	if s.memories++; s.memories > 1 {
		r.fail(runtime.Refusef("more than one memory"))
	}
	if least > job.MaxPages || most > job.MaxPages {
		r.fail(fmt.Errorf("memory of %d to %d pages, want at most %d", least, most, job.MaxPages))
	}
	s.minPages, s.maxPages = least, most
}

func (s *scan) export(r *reader) {
	name := r.name()
	checkName(r, "export", name)
	s.exports[name] = export{kind: r.byte(), index: r.u32()}
}

// customSection records the name of a section without effect on the execution.
func (s *scan) customSection(r *reader) {
	name := r.name()
	if r.err != nil {
		return // a custom section never makes a module invalid here; the compiler checks it
	}
	s.custom = append(s.custom, name)
	if name == "name" {
		s.names = r.b
	}
}
