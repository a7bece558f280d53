#include "textflag.h"

// func publish(p *uint32, value uint32)
//
// Stores of amd64 become visible in the order of the program.
TEXT ·publish(SB), NOSPLIT, $0-12
	MOVQ p+0(FP), AX
	MOVL value+8(FP), BX
	MOVL BX, (AX)
	RET
