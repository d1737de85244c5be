package meter

// vectorRows are the SIMD opcodes of WebAssembly 2.0, after the prefix 0xfd. The gaps are
// reserved and refused.
var vectorRows = []row{
	{first: 0, last: 10, sig: "i>v", imm: immMemory},
	{first: 11, last: 11, sig: "iv>", imm: immMemory},
	{first: 12, last: 12, sig: ">v", imm: immBytes16},
	{first: 13, last: 13, sig: "vv>v", imm: immBytes16},
	{first: 14, last: 14, sig: "vv>v", imm: immNone}, // swizzle
	{first: 15, last: 17, sig: "i>v", imm: immNone},  // splats
	{first: 18, last: 18, sig: "I>v", imm: immNone},
	{first: 19, last: 19, sig: "f>v", imm: immNone, use: usePass},
	{first: 20, last: 20, sig: "F>v", imm: immNone, use: usePass},
	{first: 21, last: 22, sig: "v>i", imm: immLane}, // lanes
	{first: 23, last: 23, sig: "vi>v", imm: immLane},
	{first: 24, last: 25, sig: "v>i", imm: immLane},
	{first: 26, last: 26, sig: "vi>v", imm: immLane},
	{first: 27, last: 27, sig: "v>i", imm: immLane},
	{first: 28, last: 28, sig: "vi>v", imm: immLane},
	{first: 29, last: 29, sig: "v>I", imm: immLane},
	{first: 30, last: 30, sig: "vI>v", imm: immLane},
	{first: 31, last: 31, sig: "v>f", imm: immLane, use: usePassF32},
	{first: 32, last: 32, sig: "vf>v", imm: immLane, use: usePassF32, safe: safeLane32}, // cuts an f64 lane
	{first: 33, last: 33, sig: "v>F", imm: immLane, use: usePassF64},
	{first: 34, last: 34, sig: "vF>v", imm: immLane, use: usePass, safe: safeLane64},
	{first: 35, last: 64, sig: "vv>v", imm: immNone}, // integer comparisons
	{first: 65, last: 70, sig: "vv>v", imm: immNone, use: useF32x4},
	{first: 71, last: 76, sig: "vv>v", imm: immNone, use: useF64x2},
	{first: 77, last: 77, sig: "v>v", imm: immNone},
	{first: 78, last: 81, sig: "vv>v", imm: immNone},
	{first: 82, last: 82, sig: "vvv>v", imm: immNone, safe: safeBitselect},      // bitselect
	{first: 83, last: 83, sig: "v>i", imm: immNone},                             // any_true
	{first: 84, last: 87, sig: "iv>v", imm: immMemoryLane},                      // load_lane
	{first: 88, last: 91, sig: "iv>", imm: immMemoryLane},                       // store_lane
	{first: 92, last: 93, sig: "i>v", imm: immMemory},                           // load_zero
	{first: 94, last: 94, sig: "v>v", imm: immNone, use: useF64x2, fresh: true}, // f32x4.demote
	{first: 95, last: 95, sig: "v>v", imm: immNone, use: useF32x4, fresh: true}, // f64x2.promote_low
	{first: 96, last: 97, sig: "v>v", imm: immNone},
	{first: 98, last: 98, sig: "v>v", imm: immNone, safe: safeV128}, // i8x16.popcnt
	{first: 99, last: 100, sig: "v>i", imm: immNone},
	{first: 101, last: 102, sig: "vv>v", imm: immNone, safe: safeV128},            // i8x16.narrow
	{first: 103, last: 106, sig: "v>v", imm: immNone, use: useF32x4, fresh: true}, // f32x4 rounding
	{first: 107, last: 109, sig: "vi>v", imm: immNone},
	{first: 110, last: 115, sig: "vv>v", imm: immNone},
	{first: 116, last: 117, sig: "v>v", imm: immNone, use: useF64x2, fresh: true}, // f64x2.ceil floor
	{first: 118, last: 121, sig: "vv>v", imm: immNone},
	{first: 122, last: 122, sig: "v>v", imm: immNone, use: useF64x2, fresh: true}, // f64x2.trunc
	{first: 123, last: 123, sig: "vv>v", imm: immNone},
	{first: 124, last: 129, sig: "v>v", imm: immNone},
	{first: 130, last: 130, sig: "vv>v", imm: immNone},
	{first: 131, last: 132, sig: "v>i", imm: immNone},
	{first: 133, last: 134, sig: "vv>v", imm: immNone, safe: safeV128}, // i16x8.narrow
	{first: 135, last: 138, sig: "v>v", imm: immNone},
	{first: 139, last: 141, sig: "vi>v", imm: immNone},
	{first: 142, last: 147, sig: "vv>v", imm: immNone},
	{first: 148, last: 148, sig: "v>v", imm: immNone, use: useF64x2, fresh: true}, // f64x2.nearest
	{first: 149, last: 153, sig: "vv>v", imm: immNone},
	{first: 155, last: 159, sig: "vv>v", imm: immNone},
	{first: 160, last: 161, sig: "v>v", imm: immNone},
	{first: 163, last: 164, sig: "v>i", imm: immNone},
	{first: 167, last: 170, sig: "v>v", imm: immNone},
	{first: 171, last: 173, sig: "vi>v", imm: immNone},
	{first: 174, last: 174, sig: "vv>v", imm: immNone},
	{first: 177, last: 177, sig: "vv>v", imm: immNone},
	{first: 181, last: 185, sig: "vv>v", imm: immNone},
	{first: 186, last: 186, sig: "vv>v", imm: immNone, safe: safeV128x2}, // i32x4.dot_i16x8_s
	{first: 188, last: 191, sig: "vv>v", imm: immNone},
	{first: 192, last: 193, sig: "v>v", imm: immNone},
	{first: 195, last: 195, sig: "v>i", imm: immNone},
	{first: 196, last: 196, sig: "v>i", imm: immNone, safe: safeResult}, // i64x2.bitmask
	{first: 199, last: 202, sig: "v>v", imm: immNone},
	{first: 203, last: 205, sig: "vi>v", imm: immNone},
	{first: 206, last: 206, sig: "vv>v", imm: immNone},
	{first: 209, last: 209, sig: "vv>v", imm: immNone},
	{first: 213, last: 213, sig: "vv>v", imm: immNone, safe: safeV128x2}, // i64x2.mul
	{first: 214, last: 223, sig: "vv>v", imm: immNone},
	{first: 224, last: 225, sig: "v>v", imm: immNone, use: usePassF32}, // f32x4.abs neg
	{first: 227, last: 227, sig: "v>v", imm: immNone, use: useF32x4, fresh: true},
	{first: 228, last: 231, sig: "vv>v", imm: immNone, use: useF32x4, fresh: true},
	{first: 232, last: 233, sig: "vv>v", imm: immNone, use: useF32x4, fresh: true, safe: safeV128x2}, // f32x4.min max
	{first: 234, last: 235, sig: "vv>v", imm: immNone, use: usePassF32},                              // f32x4.pmin pmax
	{first: 236, last: 237, sig: "v>v", imm: immNone, use: usePassF64},
	{first: 239, last: 239, sig: "v>v", imm: immNone, use: useF64x2, fresh: true},
	{first: 240, last: 243, sig: "vv>v", imm: immNone, use: useF64x2, fresh: true},
	{first: 244, last: 245, sig: "vv>v", imm: immNone, use: useF64x2, fresh: true, safe: safeV128x2}, // f64x2.min max
	{first: 246, last: 247, sig: "vv>v", imm: immNone, use: usePassF64},
	{first: 248, last: 249, sig: "v>v", imm: immNone, use: useF32x4}, // trunc_sat
	{first: 250, last: 251, sig: "v>v", imm: immNone},
	{first: 252, last: 253, sig: "v>v", imm: immNone, use: useF64x2},
	{first: 254, last: 255, sig: "v>v", imm: immNone},
}

// lanesF64 reports whether a fresh result of the vector opcode has f64 lanes.
func lanesF64(code uint32) bool {
	switch code {
	case 95, 116, 117, 122, 148:
		return true
	}
	return code >= 239 && code <= 245
}
