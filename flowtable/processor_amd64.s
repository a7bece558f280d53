#include "textflag.h"

// func fetchLine(p unsafe.Pointer)
TEXT ·fetchLine(SB), NOSPLIT, $0-8
	MOVQ       p+0(FP), AX
	PREFETCHT0 (AX)
	RET

// func fetchLines(p unsafe.Pointer)
TEXT ·fetchLines(SB), NOSPLIT, $0-8
	MOVQ       p+0(FP), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	RET

// func publish(p *uint32, value uint32)
//
// Stores of amd64 become visible in the order of the program.
TEXT ·publish(SB), NOSPLIT, $0-12
	MOVQ p+0(FP), AX
	MOVL value+8(FP), BX
	MOVL BX, (AX)
	RET
