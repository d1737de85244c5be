package meter

// coreRows are the one-byte opcodes of WebAssembly 2.0. The analysis handles those marked
// immControl one by one.
var coreRows = []row{
	{first: 0x00, last: 0x05, sig: ">", imm: immControl},
	{first: 0x0b, last: 0x11, sig: ">", imm: immControl},
	{first: 0x1a, last: 0x1c, sig: ">", imm: immControl},
	{first: 0x20, last: 0x26, sig: ">", imm: immControl},

	{first: 0x28, last: 0x28, sig: "i>i", imm: immMemory},
	{first: 0x29, last: 0x29, sig: "i>I", imm: immMemory},
	{first: 0x2a, last: 0x2a, sig: "i>f", imm: immMemory},
	{first: 0x2b, last: 0x2b, sig: "i>F", imm: immMemory},
	{first: 0x2c, last: 0x2f, sig: "i>i", imm: immMemory},
	{first: 0x30, last: 0x35, sig: "i>I", imm: immMemory},
	{first: 0x36, last: 0x36, sig: "ii>", imm: immMemory},
	{first: 0x37, last: 0x37, sig: "iI>", imm: immMemory},
	{first: 0x38, last: 0x38, sig: "if>", imm: immMemory},
	{first: 0x39, last: 0x39, sig: "iF>", imm: immMemory},
	{first: 0x3a, last: 0x3b, sig: "ii>", imm: immMemory},
	{first: 0x3c, last: 0x3e, sig: "iI>", imm: immMemory},
	{first: 0x3f, last: 0x44, sig: ">", imm: immControl}, // memory.size, memory.grow, constants

	{first: 0x45, last: 0x45, sig: "i>i", imm: immNone},
	{first: 0x46, last: 0x4f, sig: "ii>i", imm: immNone},
	{first: 0x50, last: 0x50, sig: "I>i", imm: immNone},
	{first: 0x51, last: 0x5a, sig: "II>i", imm: immNone},
	{first: 0x5b, last: 0x60, sig: "ff>i", imm: immNone, use: useNumber},
	{first: 0x61, last: 0x66, sig: "FF>i", imm: immNone, use: useNumber},
	{first: 0x67, last: 0x69, sig: "i>i", imm: immNone, safe: safeI32}, // clz ctz popcnt
	{first: 0x6a, last: 0x6e, sig: "ii>i", imm: immNone},
	{first: 0x6f, last: 0x6f, sig: "ii>i", imm: immNone, safe: safeRemS32}, // rem
	{first: 0x70, last: 0x70, sig: "ii>i", imm: immNone, safe: safeRemU32},
	{first: 0x71, last: 0x78, sig: "ii>i", imm: immNone},
	{first: 0x79, last: 0x7a, sig: "I>I", imm: immNone, safe: safeI64}, // clz ctz
	{first: 0x7b, last: 0x7b, sig: "I>I", imm: immNone},
	{first: 0x7c, last: 0x80, sig: "II>I", imm: immNone},
	{first: 0x81, last: 0x81, sig: "II>I", imm: immNone, safe: safeRemS64}, // rem
	{first: 0x82, last: 0x82, sig: "II>I", imm: immNone, safe: safeRemU64},
	{first: 0x83, last: 0x8a, sig: "II>I", imm: immNone},

	{first: 0x8b, last: 0x8c, sig: "f>f", imm: immNone, use: usePass},                // abs neg
	{first: 0x8d, last: 0x91, sig: "f>f", imm: immNone, use: useNumber, fresh: true}, // ceil floor trunc nearest sqrt
	{first: 0x92, last: 0x97, sig: "ff>f", imm: immNone, use: useNumber, fresh: true},
	{first: 0x98, last: 0x98, sig: "ff>f", imm: immNone, safe: safeCopysign32}, // copysign observes the sign of a NaN
	{first: 0x99, last: 0x9a, sig: "F>F", imm: immNone, use: usePass},
	{first: 0x9b, last: 0x9f, sig: "F>F", imm: immNone, use: useNumber, fresh: true},
	{first: 0xa0, last: 0xa5, sig: "FF>F", imm: immNone, use: useNumber, fresh: true},
	{first: 0xa6, last: 0xa6, sig: "FF>F", imm: immNone, safe: safeCopysign64},

	{first: 0xa7, last: 0xa7, sig: "I>i", imm: immNone},
	{first: 0xa8, last: 0xa9, sig: "f>i", imm: immNone, use: useNumber},
	{first: 0xaa, last: 0xab, sig: "F>i", imm: immNone, use: useNumber},
	{first: 0xac, last: 0xad, sig: "i>I", imm: immNone},
	{first: 0xae, last: 0xaf, sig: "f>I", imm: immNone, use: useNumber},
	{first: 0xb0, last: 0xb1, sig: "F>I", imm: immNone, use: useNumber},
	{first: 0xb2, last: 0xb3, sig: "i>f", imm: immNone},
	{first: 0xb4, last: 0xb4, sig: "I>f", imm: immNone},
	{first: 0xb5, last: 0xb5, sig: "I>f", imm: immNone, safe: safeI64},               // convert_i64_u
	{first: 0xb6, last: 0xb6, sig: "F>f", imm: immNone, use: useNumber, fresh: true}, // demote
	{first: 0xb7, last: 0xb8, sig: "i>F", imm: immNone},
	{first: 0xb9, last: 0xb9, sig: "I>F", imm: immNone},
	{first: 0xba, last: 0xba, sig: "I>F", imm: immNone, safe: safeI64},               // convert_i64_u
	{first: 0xbb, last: 0xbb, sig: "f>F", imm: immNone, use: useNumber, fresh: true}, // promote
	{first: 0xbc, last: 0xbc, sig: "f>i", imm: immNone},
	{first: 0xbd, last: 0xbd, sig: "F>I", imm: immNone},
	{first: 0xbe, last: 0xbe, sig: "i>f", imm: immNone},
	{first: 0xbf, last: 0xbf, sig: "I>F", imm: immNone},
	{first: 0xc0, last: 0xc1, sig: "i>i", imm: immNone},
	{first: 0xc2, last: 0xc4, sig: "I>I", imm: immNone},

	{first: 0xd0, last: 0xd2, sig: ">", imm: immControl}, // ref.null ref.is_null ref.func
	{first: 0xfc, last: 0xfd, sig: ">", imm: immControl}, // prefixes
}

var miscRows = []row{
	{first: 0, last: 1, sig: "f>i", imm: immNone, use: useNumber}, // trunc_sat
	{first: 2, last: 3, sig: "F>i", imm: immNone, use: useNumber},
	{first: 4, last: 5, sig: "f>I", imm: immNone, use: useNumber},
	{first: 6, last: 7, sig: "F>I", imm: immNone, use: useNumber},
	{first: 8, last: 17, sig: ">", imm: immControl}, // memory and table operations
}
