package meter

// Prices, in fuel. They are part of the deterministic profile: every instruction
// costs 1 but those named here. A charged block's instructions are paid for when it
// is entered; what depends on operands, just before the work.
const (
	priceInstruction  = 1
	priceCall         = 5
	priceCallIndirect = 9
	priceLeave        = 100  // table.grow besides its entries: the engine leaves the guest's code for it
	pricePage         = 1000 // of memory.grow, if it is valid
	priceBytesShift   = 3    // bulk memory: 1 per 8 bytes. Tables: 1 per entry
	freeMoves         = 32   // slots that may move for nothing where ways meet. See meet.go
)

// Stack, in bytes: what a call of a function is charged.
const (
	frameBase = 64
	// frameSlot is for each parameter, each local, each operand at the greatest height,
	// and each value that is kept in memory (see frame.go, and keepSlots). v128 counts twice.
	frameSlot = 8

	// A small leaf is not charged and not checked: a function that calls nothing, whose
	// frame is at most leafFrame and whose instructions, each taken once, cost at most
	// leafCost. At most one is active, and StackLimit leaves it room; and between two
	// checks there are no more than callsPerCheck calls.
	leafFrame = 4096
	leafCost  = 256
	// callsPerCheck is the number of calls on any way through a function, from one check
	// on, after which there is one more, so that a long row of calls of leaves is no way
	// around the others.
	callsPerCheck = 256
)
