#include "textflag.h"

// One step for 64 of the bytes: Z0 to Z3 are the accumulator, Z4 the factors.
#define STEP(off, acc, tmp) \
	VPCLMULQDQ $0x00, Z4, acc, tmp \
	VPCLMULQDQ $0x11, Z4, acc, acc \
	VPTERNLOGQ $0x96, off(SI), tmp, acc

// func fold(acc *[256]byte, p *byte, n int, by *[2]uint64)
TEXT ·fold(SB), NOSPLIT, $0-32
	MOVQ acc+0(FP), DI
	MOVQ p+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ by+24(FP), DX
	VBROADCASTI32X4 (DX), Z4
	VMOVDQU64 0(DI), Z0
	VMOVDQU64 64(DI), Z1
	VMOVDQU64 128(DI), Z2
	VMOVDQU64 192(DI), Z3

loop:
	STEP(0, Z0, Z5)
	STEP(64, Z1, Z6)
	STEP(128, Z2, Z7)
	STEP(192, Z3, Z8)
	ADDQ $256, SI
	DECQ CX
	JNZ  loop

	VMOVDQU64 Z0, 0(DI)
	VMOVDQU64 Z1, 64(DI)
	VMOVDQU64 Z2, 128(DI)
	VMOVDQU64 Z3, 192(DI)
	VZEROUPPER
	RET
