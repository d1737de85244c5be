// Package meter rewrites a WebAssembly module so that running it is metered, bounded and the
// same on every machine. It maps bytes to bytes, and depends on no engine, no clock and no
// host. The one rule: for a module that is valid and stays within its limits, nothing but NaN
// bits may change.
//
// The output counts fuel once per basic block and asks the host for more at loop heads and
// function entries; counts the bytes of stack that calls use; makes the results of float
// arithmetic canonical where their NaN bits could be observed; prices bulk operations and
// growth by size, in steps of 256 KiB; reads references to functions from a table, because the
// engine would keep each of them; replaces the instructions that the engine executes
// incorrectly; applies active segments that may not fit at the start, where they trap; and
// turns the start function into an export. Prices are in price.go and part of the deterministic
// profile.
//
// # What the host provides
//
// The original must be valid, and only the engine can check that: unreachable code is dropped
// here, unchecked, and types are not checked. Yet Rewrite comes first, because it compares
// every count with the bytes that are present, while wazero's decoder allocates what a count
// announces: gigabytes for a module of 15 bytes. So: Rewrite; compile the original for its
// errors (in an interpreter, which is cheap); compile the output.
//
// The output may use bulk memory operations and references, whatever the original uses: the
// engine must have the features of WebAssembly 2.0.
//
// Then the host checks Info against the run's limits, provides two functions in a module
// HostModule, instantiates the output with the engine's own start functions disabled, and calls
// StartExport first if Info.Start is set.
//
//	refill(fuel i64, stack i64) -> fuel i64
//	grow(pages i64)
//
// The run's fuel is what the host has granted minus the value of the global FuelExport. At the
// start nothing is granted and the global is 0.
//
// refill is called when a counter is below zero, and before each step of a bulk operation that
// has more than one. If stack is negative, the run ends: the guest's stack is full. If the
// spent fuel, granted - fuel, exceeds the run's limit, it ends too: out of fuel. If it is
// cancelled, likewise. The host ends a run by panicking, which the engine returns as the call's
// error. Otherwise, if fuel is below zero, it rounds the spent fuel up to a multiple of Slice
// and makes this the granted fuel. It yields to other goroutines if guests occupy all
// processors (runtime.Gosched: native code cannot be preempted, and everything in the process
// waits for it), and returns granted minus spent.
//
// So refills come at multiples of Slice, whatever the run's limit. That matters because
// functions keep fuel in a local between calls: after a trap the global is exact only up to the
// last refill or call, and in this way it is still the same on every machine and under every
// limit. A run may continue for a Slice after its fuel is used up; host functions check before
// their work, so that this is not observable, and the host checks once more at the end.
//
// grow is called with the size in pages that the memory is about to have, if the module's own
// maximum allows it and it has been paid for. The host ends the run if that exceeds the run's
// limit. When it returns, the engine must not refuse: the host reserves room for the run's
// limit. If the engine does refuse, grow is called again with -1: a machine fault, which must
// not produce a result.
//
// A host function that costs fuel charges it by lowering the global FuelExport, also below
// zero; the global is up to date around every call, and the next check sees the change. If the
// work has to be paid for in advance, the host checks the limit itself, as refill does.
// At the end of a run, too, granted less FuelExport may exceed the Job's fuel, by less
// At the end of a run, too, granted minus FuelExport may exceed the limit, by less than a Slice
// and one basic block: then the run is out of fuel as well.
// After a trap StackExport is not restored. The instance should not be used again; a host that
// does has to reset it to the limit.
//
// # Order of charge and check
//
// At a check, the counters are tested first, then the block is paid for, then it runs. So a run
// ends at the first refill, or host function, that finds more spent than the limit. A trap in
// the middle of a block has paid for all of it. At a function's entry the check also tests
// whether its frame fits in the rest of the stack. The frame is deducted before the first call
// that may come, and added back by every exit after that: an exit without a call has written
// nothing. Bulk operations and growth are paid before the work, step by step; an out-of-bounds
// range of more than a step traps unpaid.
//
// The stack limit is within what wazero's compiler allows, 50 to 100 MB depending on frame
// sizes: for every shape of function that was tested, the charge reaches its limit first. Of
// the 17,825 functions of a Ruby interpreter none has an engine frame larger than its charge;
// of the 3,031 of a Go program nine have, by four fifths at most. Should the engine's stack
// still overflow, its own error ("stack overflow") is a machine fault and must not produce a
// result. Its interpreter stops at 2,000 calls, whatever they are.
package meter
