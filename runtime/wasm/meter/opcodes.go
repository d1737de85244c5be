package meter

// immediate says what follows an opcode. The zero value is an opcode that this package does not
// support and therefore refuses.
type immediate uint8

const (
	immUnknown immediate = iota
	immNone
	immMemory     // memarg
	immMemoryLane // memarg, lane
	immLane       // one byte
	immBytes16    // v128.const, i8x16.shuffle
	immControl    // handled by name
)

// use says what an instruction observes of its operands' NaN bits, and what it passes on. See
// nan.go.
type use uint8

const (
	useSees    use = iota // observes the bits: a store, a call, integer arithmetic
	useNumber             // reads scalar floats as numbers: all NaNs are alike
	useF32x4              // reads f32 lanes as numbers
	useF64x2              // reads f64 lanes as numbers
	usePass               // moves bits to its result, whole lanes of either width
	usePassF32            // moves f32 lanes to its result
	usePassF64            // moves f64 lanes to its result
)

// operator is what the analysis needs to know about an opcode.
type operator struct {
	imm   immediate
	pop   uint8
	push  byte // value type of the result, 0 for none
	use   use
	fresh bool // the result may be a NaN with bits chosen by the hardware
	safe  safeForm
}

// core, misc (prefix 0xfc) and vector (prefix 0xfd) are indexed by opcode.
var (
	core   [256]operator
	misc   [18]operator
	vector [256]operator
)

// The control and variable instructions, and those that the rewriter replaces.
const (
	opUnreachable       = 0x00
	opNop               = 0x01
	opBlock             = 0x02
	opLoop              = 0x03
	opIf                = 0x04
	opElse              = 0x05
	opEnd               = 0x0b
	opBr                = 0x0c
	opBrIf              = 0x0d
	opBrTable           = 0x0e
	opReturn            = 0x0f
	opCall              = 0x10
	opCallIndirect      = 0x11
	opDrop              = 0x1a
	opSelect            = 0x1b
	opSelectTyped       = 0x1c
	opLocalGet          = 0x20
	opLocalSet          = 0x21
	opLocalTee          = 0x22
	opGlobalGet         = 0x23
	opGlobalSet         = 0x24
	opTableGet          = 0x25
	opTableSet          = 0x26
	opMemorySize        = 0x3f
	opMemoryGrow        = 0x40
	opI32Const          = 0x41
	opI64Const          = 0x42
	opF32Const          = 0x43
	opF64Const          = 0x44
	opI32Eq             = 0x46
	opI32Ne             = 0x47
	opI32LtU            = 0x49
	opI32LeU            = 0x4d
	opI32GeU            = 0x4f
	opI64Eq             = 0x51
	opI64Ne             = 0x52
	opI64LtS            = 0x53
	opI64GtU            = 0x56
	opI64GeU            = 0x5a
	opF32Ge             = 0x60
	opF64Ge             = 0x66
	opI32Add            = 0x6a
	opI32Sub            = 0x6b
	opI32Mul            = 0x6c
	opI32DivS           = 0x6d
	opI32DivU           = 0x6e
	opI32And            = 0x71
	opI32Or             = 0x72
	opI32Shl            = 0x74
	opI32ShrS           = 0x75
	opI32ShrU           = 0x76
	opI64Add            = 0x7c
	opI64Sub            = 0x7d
	opI64Mul            = 0x7e
	opI64DivS           = 0x7f
	opI64DivU           = 0x80
	opI64And            = 0x83
	opI64Or             = 0x84
	opI64Shl            = 0x86
	opI64ShrS           = 0x87
	opI64ShrU           = 0x88
	opI32WrapI64        = 0xa7
	opI64ExtendU        = 0xad
	opI32ReinterpretF32 = 0xbc
	opI64ReinterpretF64 = 0xbd
	opF32ReinterpretI32 = 0xbe
	opF64ReinterpretI64 = 0xbf
	opRefNull           = 0xd0
	opRefIsNull         = 0xd1
	opRefFunc           = 0xd2
	opMisc              = 0xfc
	opVector            = 0xfd

	emptyBlock = 0x40

	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17

	vectorConst        = 12
	vectorShuffle      = 13
	vectorI32x4Splat   = 17
	vectorI32x4Replace = 28
	vectorI64x2Replace = 30
	vectorF32x4Ne      = 66
	vectorF64x2Ne      = 72
	vectorAnd          = 78
	vectorAndNot       = 79
	vectorOr           = 80
	vectorBitselect    = 82
)

// row describes the opcodes first to last: sig is operands ">" result, in the letters of
// typeOf.
type row struct {
	first, last int
	sig         string
	imm         immediate
	use         use
	fresh       bool
	safe        safeForm
}

func typeOf(letter byte) byte {
	switch letter {
	case 'i':
		return typeI32
	case 'I':
		return typeI64
	case 'f':
		return typeF32
	case 'F':
		return typeF64
	case 'v':
		return typeV128
	}
	panic("meter: letter in an opcode table: " + string(letter))
}

func fill(table []operator, rows []row) {
	for _, r := range rows {
		o := operator{imm: r.imm, use: r.use, fresh: r.fresh, safe: r.safe}
		for i := range len(r.sig) {
			if r.sig[i] == '>' {
				o.pop = uint8(i)
				if i+1 < len(r.sig) {
					o.push = typeOf(r.sig[i+1])
				}
			}
		}
		for c := r.first; c <= r.last; c++ {
			if table[c].imm != immUnknown {
				panic("meter: duplicate opcode in a table")
			}
			table[c] = o
		}
	}
}

func init() {
	fill(core[:], coreRows)
	fill(misc[:], miscRows)
	fill(vector[:], vectorRows)
}
