package meter

// Prices, in fuel. They are part of the deterministic profile: every instruction costs 1,
// except those named here. The instructions of a charged block are paid for when it is entered;
// what depends on operands, just before the work.
const (
	priceInstruction  = 1
	priceCall         = 5
	priceCallIndirect = 9
	priceLeave        = 100  // table.grow in addition to its entries: it leaves the guest's code
	pricePage         = 1000 // a page of memory.grow, if it is valid
	priceBytesShift   = 3    // bulk memory: 1 per 8 bytes. Tables: 1 per entry
	freeMoves         = 32   // slots that may move for free where paths merge. See merge.go
)

// Stack, in bytes: what a call of a function is charged.
const (
	frameBase = 64
	// frameSlot is charged for each parameter, each local, each operand at the greatest stack
	// height, and each value that is kept in memory (see frame.go, and keepSlots). v128 counts
	// twice.
	frameSlot = 8

	// A small leaf is not charged and not checked: a function without calls whose frame is at
	// most leafFrame and whose instructions, each taken once, cost at most leafCost. At most
	// one is active, and StackLimit leaves room for it; and between two checks there are no
	// more than callsPerCheck calls.
	leafFrame = 4096
	leafCost  = 256
	// callsPerCheck is the number of calls on any path through a function after which a further
	// check follows, so that a long series of calls of leaves cannot avoid the checks.
	callsPerCheck = 256
)
