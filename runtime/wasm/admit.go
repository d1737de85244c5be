package wasm

import (
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// function returns the type of the exported function name.
func (s *scan) function(name string) (funcType, bool) {
	e, ok := s.exports[name]
	if !ok || e.kind != kindFunc || int(e.index) >= len(s.funcs) {
		return funcType{}, false
	}
	t := s.funcs[e.index]
	if int(t) >= len(s.types) {
		return funcType{}, false
	}
	return s.types[t], true
}

// entryTypes are the types of a module's entry function, by ABI.
var entryTypes = map[string]funcType{
	job.ABILiftoff: {results: string([]byte{api.ValueTypeI32})},
	job.ABIWASI:    {},
}

// checkExports checks the module's exports: memory, and fn with the type that the ABI requires.
func (s *scan) checkExports(tabi, fn string) error {
	if e, ok := s.exports[abi.ExportMemory]; !ok || e.kind != kindMemory || s.memories == 0 {
		return runtime.Refusef("missing export: memory %q", abi.ExportMemory)
	}
	_, run := s.function(abi.ExportRun)
	_, start := s.function(abi.ExportStart)
	typ, ok := s.function(fn)
	switch {
	case !ok && !run && !start:
		return runtime.Refusef("missing export: function %q or %q", abi.ExportRun, abi.ExportStart)
	case !ok:
		return runtime.Refusef("missing export: function %q", fn)
	case typ != entryTypes[tabi]:
		return runtime.Refusef("function %q: got type %v, want %v", fn, typ, entryTypes[tabi])
	}
	if typ, ok := s.function(abi.ExportInitialize); ok && typ != (funcType{}) {
		return runtime.Refusef("function %q: got type %v, want %v", abi.ExportInitialize, typ, funcType{})
	}
	return nil
}

// checkImports checks that known has every import, with the same type.
func (s *scan) checkImports(known func(module, name string) (funcType, bool)) error {
	for _, i := range s.imports {
		typ, ok := known(i.module, i.name)
		if !ok {
			return runtime.Refusef("unknown import %q.%q of type %v", i.module, i.name, i.typ)
		}
		if typ != i.typ {
			return runtime.Refusef("import %q.%q: got type %v, want %v", i.module, i.name, i.typ, typ)
		}
	}
	return nil
}
