#include "textflag.h"

// func prefetch(base unsafe.Pointer, stride uintptr, at *uint32, n int)
TEXT ·prefetch(SB), NOSPLIT, $0-32
	MOVQ base+0(FP), AX
	MOVQ stride+8(FP), BX
	MOVQ at+16(FP), SI
	MOVQ n+24(FP), CX
	JMP  check

next:
	MOVL       (SI), DX
	IMULQ      BX, DX
	PREFETCHT0 (AX)(DX*1)
	ADDQ       $4, SI
	DECQ       CX

check:
	TESTQ CX, CX
	JG    next
	RET
