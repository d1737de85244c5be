package abi

// Fuel prices. They are part of the deterministic profile det2: a change of any is a
// new profile. A price is a function of the call's arguments and of the DAG alone,
// never of what the host did, had cached or how long it took. It is paid before the
// work; what cannot be paid ends the run out of fuel.
const (
	FuelInstruction  = 1    // of a WebAssembly instruction; block, loop, else, end and nop are free
	FuelCallDirect   = 5    // of call
	FuelCallIndirect = 9    // of call_indirect
	FuelLeave        = 100  // of table.grow besides its entries: the engine leaves the guest's code for it
	FuelPage         = 1000 // of each page that memory.grow adds
	FuelBulkBytes    = 8    // bytes that memory.fill, copy and init move for 1 fuel; of tables, 1 for each entry

	FuelCall      = 500  // of every host call, of this ABI and of WASI, whatever it answers
	FuelCopyBytes = 16   // bytes copied between guest and host for 1 fuel, rounded up
	FuelBlock     = 5000 // of each block that a call looks into, each leaf that a range overlaps, each segment of a path through blocks
	FuelHashByte  = 1    // of each byte that the host hashes: hash, and everything that is written or printed to become output
	FuelEntry     = 200  // of each directory entry that is listed, made or walked through
)

// FuelCopy is the price of copying n bytes.
func FuelCopy(n uint64) uint64 { return n/FuelCopyBytes + min(n%FuelCopyBytes, 1) }
