#include "textflag.h"

// func fetchLine(p unsafe.Pointer)
TEXT ·fetchLine(SB), NOSPLIT, $0-8
	MOVQ       p+0(FP), AX
	PREFETCHT0 (AX)
	RET

// func fetchPassing(p unsafe.Pointer)
TEXT ·fetchPassing(SB), NOSPLIT, $0-8
	MOVQ        p+0(FP), AX
	PREFETCHNTA (AX)
	RET

// func fetchLines(p unsafe.Pointer)
TEXT ·fetchLines(SB), NOSPLIT, $0-8
	MOVQ       p+0(FP), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	RET

// func fetchEight(base unsafe.Pointer, numbers *[group]uint32)
TEXT ·fetchEight(SB), NOSPLIT, $0-16
	MOVQ base+0(FP), AX
	MOVQ numbers+8(FP), BX
	MOVL 0(BX), CX
	MOVL 4(BX), DX
	MOVL 8(BX), SI
	MOVL 12(BX), DI
	MOVL 16(BX), R8
	MOVL 20(BX), R9
	MOVL 24(BX), R10
	MOVL 28(BX), R11
	SHLQ $6, CX
	SHLQ $6, DX
	SHLQ $6, SI
	SHLQ $6, DI
	SHLQ $6, R8
	SHLQ $6, R9
	SHLQ $6, R10
	SHLQ $6, R11
	PREFETCHT0 (AX)(CX*1)
	PREFETCHT0 (AX)(DX*1)
	PREFETCHT0 (AX)(SI*1)
	PREFETCHT0 (AX)(DI*1)
	PREFETCHT0 (AX)(R8*1)
	PREFETCHT0 (AX)(R9*1)
	PREFETCHT0 (AX)(R10*1)
	PREFETCHT0 (AX)(R11*1)
	RET

// func fetchEightPairs(base unsafe.Pointer, numbers *[group]uint32)
TEXT ·fetchEightPairs(SB), NOSPLIT, $0-16
	MOVQ base+0(FP), AX
	MOVQ numbers+8(FP), BX
	MOVL 0(BX), CX
	MOVL 4(BX), DX
	MOVL 8(BX), SI
	MOVL 12(BX), DI
	MOVL 16(BX), R8
	MOVL 20(BX), R9
	MOVL 24(BX), R10
	MOVL 28(BX), R11
	SHLQ $7, CX
	SHLQ $7, DX
	SHLQ $7, SI
	SHLQ $7, DI
	SHLQ $7, R8
	SHLQ $7, R9
	SHLQ $7, R10
	SHLQ $7, R11
	PREFETCHT0 (AX)(CX*1)
	PREFETCHT0 64(AX)(CX*1)
	PREFETCHT0 (AX)(DX*1)
	PREFETCHT0 64(AX)(DX*1)
	PREFETCHT0 (AX)(SI*1)
	PREFETCHT0 64(AX)(SI*1)
	PREFETCHT0 (AX)(DI*1)
	PREFETCHT0 64(AX)(DI*1)
	PREFETCHT0 (AX)(R8*1)
	PREFETCHT0 64(AX)(R8*1)
	PREFETCHT0 (AX)(R9*1)
	PREFETCHT0 64(AX)(R9*1)
	PREFETCHT0 (AX)(R10*1)
	PREFETCHT0 64(AX)(R10*1)
	PREFETCHT0 (AX)(R11*1)
	PREFETCHT0 64(AX)(R11*1)
	RET

// func publish(p *uint32, value uint32)
//
// Stores of amd64 become visible in the order of the program.
TEXT ·publish(SB), NOSPLIT, $0-12
	MOVQ p+0(FP), AX
	MOVL value+8(FP), BX
	MOVL BX, (AX)
	RET
