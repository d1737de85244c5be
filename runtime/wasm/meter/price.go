package meter

// Prices, in fuel. They are part of the deterministic profile: every instruction
// costs 1 but those named here. A charged block's instructions are paid for when it
// is entered; what depends on operands, just before the work.
const (
	priceInstruction  = 1
	priceCall         = 5
	priceCallIndirect = 9
	pricePage         = 1000 // of memory.grow, if it is valid
	priceBytesShift   = 3    // bulk memory: 1 per 8 bytes. Tables: 1 per entry
)

// Stack, in bytes: what a call of a function is charged.
const (
	frameBase = 32
	frameSlot = 8 // per parameter, local and operand at the greatest height; v128 counts twice
	// freeLeaf is the largest frame of a function that calls nothing that stays
	// uncharged: at most one of them is active, and StackLimit leaves it room.
	freeLeaf = 4096
)
