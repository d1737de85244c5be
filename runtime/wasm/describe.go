package wasm

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/tetratelabs/wazero"

	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Description describes a module without running it.
type Description struct {
	ABI       string   `json:"abi,omitempty"` // the ABI of a Task that runs it; empty if none can
	Fn        string   `json:"fn,omitempty"`
	Runs      bool     `json:"runs"`             // it runs on this node
	Reason    string   `json:"reason,omitempty"` // why it does not run
	Size      int      `json:"size"`             // bytes
	Rewritten int      `json:"rewritten"`        // bytes after rewriting; 0 if that failed
	Functions int      `json:"functions"`        // without imports
	Types     int      `json:"types"`
	Globals   int      `json:"globals"`
	Tables    Tables   `json:"tables"`
	Memory    *Memory  `json:"memory,omitempty"`
	Segments  Segments `json:"segments"`
	Imports   []Import `json:"imports"`  // in the module's order
	Exports   []Export `json:"exports"`  // by name
	Features  []string `json:"features"` // features used beyond the first version of WebAssembly
	Custom    []string `json:"custom"`   // names of the custom sections, in the module's order
}

// Tables summarizes a module's tables.
type Tables struct {
	Count   int    `json:"count"`
	Entries uint64 `json:"entries"` // of all tables: maximums, or initial sizes
}

// Memory is the size of a module's memory, in pages of 64 KiB.
type Memory struct {
	Pages    uint32 `json:"pages"`     // at the start
	MaxPages uint32 `json:"max_pages"` // 65,536 if the module sets no maximum
}

// Segments counts a module's segments for its memory and its tables.
type Segments struct {
	Data    int `json:"data"`
	Element int `json:"element"`
}

// Import is a function that a module imports.
type Import struct {
	Module string `json:"module"`
	Name   string `json:"name"`
	Type   string `json:"type"`  // "(i32 i32) -> (i64)"
	Known  bool   `json:"known"` // the host provides it with this type
}

// Export is an item that a module exports.
type Export struct {
	Name string `json:"name"`
	Kind string `json:"kind"`           // "function", "table", "memory" or "global"
	Type string `json:"type,omitempty"` // functions only
}

// Describe reads and validates a module and compiles nothing. Faults of the module are in the
// Description, as far as it could be read; an error is a machine fault.
func Describe(ctx context.Context, module []byte) (d Description, err error) {
	d = Description{Size: len(module), Imports: []Import{}, Exports: []Export{}, Features: []string{}, Custom: []string{}}
	s, err := scanModule(module)
	if err != nil {
		return d, d.refused(err)
	}
	e := &engine{}
	defer e.close()
	rt, err := e.describer(ctx)
	if err != nil {
		return d, err
	}
	_, err = s.checkCode()
	d.sections(s, rt)
	if err == nil {
		err = d.runs(ctx, module, s, rt)
	}
	d.Runs = err == nil
	return d, d.refused(err)
}

// refused records a refusal and returns every other error.
func (d *Description) refused(err error) error {
	var refused *runtime.RefusedError
	if errors.As(err, &refused) {
		d.Reason = refused.Reason
		return nil
	}
	return err
}

// describer returns a runtime that validates.
func (e *engine) describer(ctx context.Context) (*hostRuntime, error) {
	e.cacheOnce.Do(func() { e.cache = wazero.NewCompilationCache() })
	return e.runtime(ctx)
}

// sections copies what s has read.
func (d *Description) sections(s *scan, rt *hostRuntime) {
	d.Functions = len(s.funcs) - len(s.imports)
	d.Types, d.Globals = len(s.types), int(s.counts[sectionGlobal])
	d.Tables = Tables{s.tables, s.entries}
	if s.memories > 0 {
		d.Memory = &Memory{s.minPages, s.maxPages}
	}
	d.Segments = Segments{int(s.counts[sectionData]), int(s.counts[sectionElement])}
	for _, i := range s.imports {
		typ, ok := rt.known(i.module, i.name)
		d.Imports = append(d.Imports, Import{i.module, i.name, i.typ.String(), ok && typ == i.typ})
	}
	for name, e := range s.exports {
		x := Export{Name: name, Kind: "unknown"}
		if int(e.kind) < len(kindNames) {
			x.Kind = kindNames[e.kind]
		}
		if typ, ok := s.function(name); ok {
			x.Type = typ.String()
		}
		d.Exports = append(d.Exports, x)
	}
	slices.SortFunc(d.Exports, func(a, b Export) int { return cmp.Compare(a.Name, b.Name) })
	d.Features = s.uses.names()
	d.Custom = append(d.Custom, s.custom...)
}

// runs finds out whether the module runs here. It does everything that an Executor does, except
// compiling.
func (d *Description) runs(ctx context.Context, module []byte, s *scan, rt *hostRuntime) error {
	b, err := closeTables(module, s)
	if err != nil {
		return err
	}
	if b, err = rewrite(b); err != nil {
		return err
	}
	d.Rewritten = len(b)
	tabi, fn := s.entry()
	if err := s.checkExports(tabi, fn); err != nil {
		return err
	}
	d.ABI, d.Fn = tabi, fn
	if err := s.checkImports(rt.known); err != nil {
		return err
	}
	c, err := loadCompiled(ctx, rt, b)
	switch {
	case err == nil:
		return c.Close(ctx)
	case errors.Is(err, errMiss): // valid, but not compiled yet
		return nil
	}
	return err
}
