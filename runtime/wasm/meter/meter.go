package meter

import "fmt"

// Version identifies the output: it changes whenever the same module would be rewritten to
// other bytes, and is part of the key of every cache of them.
const Version = 9

// The names of the host's functions and of the module's exports. See the package comment.
const (
	HostModule   = "liftoff:meter"
	RefillImport = "refill" // (fuel i64, stack i64) -> fuel i64
	GrowImport   = "grow"   // (pages i64)

	ExportPrefix = "liftoff:meter."
	FuelExport   = ExportPrefix + "fuel"  // mutable global, i64
	StackExport  = ExportPrefix + "stack" // mutable global, i64
	StartExport  = ExportPrefix + "start" // function without parameters or results
)

// Slice is the fuel between two refills: 0.05 to 0.3 ms of work. One runtime.GC yields about
// twenty times to guests that spin on every core, so it takes twenty slices. Slice is part of
// the deterministic profile, since the fuel of a run that traps is known up to the last refill.
const Slice = 1 << 19

// StackLimit is the stack of one run in bytes, by the charges of its frames.
const StackLimit = 48 << 20

// TableLimit is the number of entries beyond which table.grow returns -1, whatever the caller
// of Rewrite has accepted.
const TableLimit = 1 << 20

// Options select what is emitted. The zero value is the deterministic profile det2.
type Options struct {
	// Stack is the stack limit of guests in bytes; 0 means StackLimit.
	Stack int64
	// RawNaN leaves NaN bits as the engine computes them: faster, and not deterministic.
	RawNaN bool
}

// Info describes the rewritten module.
type Info struct {
	Functions int    // defined by the module, without imports
	HasMemory bool   // defined or imported
	MinPages  uint64 // initial size of its memory, in pages of 64 KiB
	Entries   uint64 // initial size of all its tables together
	Start     bool   // the host has to call StartExport first
}

// Rewrite returns module in its metered form. It neither keeps nor changes the input. It does
// not check types, nor code that cannot run: the caller has to validate the module with its
// engine. For any input, the guest's code in the output cannot name the metering's own
// functions and globals. Errors are *MalformedError, *LimitError, or wrap ErrReserved.
func Rewrite(module []byte, opts Options) ([]byte, Info, error) {
	if opts.Stack == 0 {
		opts.Stack = StackLimit
	}
	m, err := decode(module)
	if err != nil {
		return nil, Info{}, fmt.Errorf("read module: %w", err)
	}
	w := newRewriter(m, opts)
	out, err := w.rewrite(len(module))
	if err != nil {
		return nil, Info{}, fmt.Errorf("meter module: %w", err)
	}
	info := Info{Functions: len(m.funcs) - m.importedFuncs, Start: w.hasStart}
	if len(m.memories) > 0 {
		info.HasMemory, info.MinPages = true, m.memories[0].min
	}
	for _, t := range m.tables {
		info.Entries += t.min
	}
	return out, info, nil
}
