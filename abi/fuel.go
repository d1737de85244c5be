package abi

// Fuel prices. They are part of the deterministic profile det2: changing any of them makes a
// new profile. A price is a function of the call's arguments and of the DAG alone, never of the
// host's work, caches or speed. It is paid before the work; a call that cannot be paid ends the
// run out of fuel.
const (
	FuelInstruction  = 1    // per WebAssembly instruction; block, loop, else, end and nop are free
	FuelCallDirect   = 5    // per call
	FuelCallIndirect = 9    // per call_indirect
	FuelLeave        = 100  // per table.grow, in addition to its entries: it leaves the guest's code
	FuelPage         = 1000 // per page that memory.grow adds
	FuelBulkBytes    = 8    // bytes that memory.fill, copy and init move for 1 fuel; for tables, 1 per entry

	FuelCall      = 500  // per host call, of this ABI and of WASI, whatever its result
	FuelCopyBytes = 16   // bytes copied between guest and host for 1 fuel, rounded up
	FuelBlock     = 5000 // per block that a call reads, leaf that a range overlaps, segment of a path through blocks
	FuelHashByte  = 1    // per byte that the host hashes: hash, and everything that is written or printed as output
	FuelEntry     = 200  // per directory entry that is listed, created or walked through
)

// FuelCopy returns the price of copying n bytes.
func FuelCopy(n uint64) uint64 { return n/FuelCopyBytes + min(n%FuelCopyBytes, 1) }
