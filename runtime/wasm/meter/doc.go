// Package meter rewrites a WebAssembly module so that running it is metered, bounded
// and the same on every machine. Bytes go in, bytes come out; it knows no engine, no
// clock and no host. The one rule: for a module that is valid and stays within its
// limits, nothing but NaN bits may change.
//
// What is emitted counts fuel once per basic block and asks the host for more at loop
// heads and function entries; counts the bytes of stack that calls take; makes the
// results of float arithmetic canonical where their NaN bits could be seen; prices
// bulk operations and growth by size, in steps of 256 KiB; reads references to functions
// from a table, of which the engine would keep each; emits other instructions for those that
// the engine gets wrong; applies active segments that may not fit at the start, where they
// trap; and turns the start function into an export. Prices are in price.go and part of the deterministic profile.
//
// # What the host provides
//
// The original must be valid, and only the engine can say so: code that can never run
// is dropped here, unchecked, and types are not looked at. Yet Rewrite comes first,
// because it holds every count against the bytes that are there, while wazero's decoder
// allocates what a count announces: gigabytes for a module of 15 bytes. So: Rewrite;
// compile the original for its errors (in an interpreter, which is cheap); compile the
// output.
//
// The output may use bulk memory operations and references, whatever the original uses: the
// engine must have the features of WebAssembly 2.0.
//
// Then the host checks Info against the Job's limits, offers two functions in a module
// HostModule, instantiates the output with the engine's own start functions off, and
// calls StartExport first if Info.Start says so.
//
//	refill(fuel i64, stack i64) -> fuel i64
//	grow(pages i64)
//
// The run's fuel is what the host has granted less what the global FuelExport holds.
// It starts with nothing granted and the global at 0.
//
// refill is called when a counter is below zero, and before each step of a bulk
// operation that is longer than one. If stack is negative, the run is over: the guest's
// stack is full. If what is spent, granted - fuel, exceeds the Job's fuel, it is over
// too: out of fuel. If it is cancelled, likewise. The host ends a run by panicking,
// which the engine returns as the call's error. Otherwise, if fuel is below zero, it
// rounds what is spent up to a multiple of Slice and takes this as what it has granted.
// It lets others run where guests have all processors (runtime.Gosched: native code cannot
// be preempted, and everything in the process waits for it), and returns granted less
// spent.
//
// So refills come at multiples of Slice, whatever the Job's fuel. That matters because
// functions keep fuel in a local between calls: after a trap the global is exact up
// to the last refill or call only, and in this way no less the same on every machine and
// under every limit. A run may go on for a Slice when its fuel is gone; host functions
// check before their work, so that nothing of this is seen, and the host looks once more
// at the end.
//
// grow is called with the size in pages that the memory is about to have, when the
// module's own maximum allows it and it has been paid for. The host ends the run if
// that is more than the Job allows. When it returns, the engine must not refuse: the
// host gives it room for the Job's limit. If it does refuse, grow is called again with
// -1: this machine's fault, which must leave no result.
//
// A host function that costs fuel adds to what was spent by lowering the global
// FuelExport, also below zero; around every call it is up to date, and the next check
// sees it. What cannot be paid before the work the host checks itself, as refill does.
//
// At the end of a run, too, granted less FuelExport may exceed the Job's fuel, by less
// than a Slice and one straight line of code: then it is out of fuel as well.
//
// After a trap StackExport is not restored. The instance should not be used again; a
// host that does sets it back to the limit.
//
// # Order of charge and check
//
// At a check first the counters are tested, then the block is paid for, then it runs.
// So a run ends at the first refill, or host function, that finds more spent than there
// is. A trap in the middle of a block has paid for the whole of it. At
// a function's entry the check is also whether its frame fits in what is left of the stack.
// The frame is taken from there before the first call that may come, and given back by
// every way out behind that: what returns without a call has written nothing. Bulk
// operations and growth pay before the work, step by step; a range of more than a step
// that is out of bounds traps unpaid.
//
// The stack limit is inside what wazero's compiler allows, which is 50 to 100 MB by the sizes
// of frames: for every shape of function that was tried, the charge is met first. Of the 17,825
// functions of a Ruby no frame of the engine's is larger than its charge, of the 3,031 of a Go
// program nine are, by four fifths at most. Should the engine run out all the
// same, its own error ("stack overflow") is this machine's fault and must leave no result.
// Its interpreter stops at 2,000 calls, whatever they are.
package meter
