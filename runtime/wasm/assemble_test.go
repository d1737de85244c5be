package wasm

import "github.com/tetratelabs/wazero/api"

// assembler builds a module section by section, so that a test can write what no toolchain
// would emit.
type assembler struct {
	sections [13][][]byte // items by section id
	start    []byte
}

const (
	tI32 = api.ValueTypeI32
	tI64 = api.ValueTypeI64
)

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func vec(b []byte) []byte { return append(appendU32(nil, uint32(len(b))), b...) }
func u32(v uint32) []byte { return appendU32(nil, v) }
func (a *assembler) add(section int, item ...byte) uint32 {
	a.sections[section] = append(a.sections[section], item)
	return uint32(len(a.sections[section]) - 1)
}

func (a *assembler) typ(params, results []byte) uint32 {
	return a.add(sectionType, cat([]byte{0x60}, vec(params), vec(results))...)
}

func (a *assembler) imp(module, name string, typ uint32) {
	a.add(sectionImport, cat(vec([]byte(module)), vec([]byte(name)), []byte{kindFunc}, u32(typ))...)
}

// fn adds a function without locals, returns its index, and exports it if it has a name.
func (a *assembler) fn(name string, typ uint32, code ...byte) uint32 {
	i := a.add(sectionFunction, u32(typ)...) + uint32(len(a.sections[sectionImport]))
	a.add(sectionCode, vec(cat([]byte{0}, code, []byte{0x0b}))...)
	if name != "" {
		a.add(sectionExport, cat(vec([]byte(name)), []byte{kindFunc}, u32(i))...)
	}
	return i
}

// memory adds an exported memory of at least min pages.
func (a *assembler) memory(min uint32) {
	a.add(sectionMemory, cat([]byte{0}, u32(min))...)
	a.add(sectionExport, cat(vec([]byte("memory")), []byte{kindMemory, 0})...)
}

func section(id byte, body []byte) []byte { return cat([]byte{id}, vec(body)) }

func (a *assembler) bytes() []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	for id := 1; id < len(a.sections); id++ {
		if id == sectionStart && a.start != nil {
			b = append(b, section(sectionStart, a.start)...)
		}
		if items := a.sections[id]; items != nil {
			b = append(b, section(byte(id), cat(u32(uint32(len(items))), cat(items...)))...)
		}
	}
	return b
}

// guest returns a module with one page of memory and a liftoff_run that runs code.
func guest(code ...byte) *assembler {
	a := &assembler{}
	a.memory(1)
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), code...)
	return a
}
