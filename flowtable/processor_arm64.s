#include "textflag.h"

// func fetchLine(p unsafe.Pointer)
TEXT ·fetchLine(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	RET

// func fetchLines(p unsafe.Pointer)
TEXT ·fetchLines(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	PRFM 64(R0), PLDL1KEEP
	RET

// func publish(p *uint32, value uint32)
//
// The barriers are DMB ISHST: stores wait for stores, and nothing else does.
TEXT ·publish(SB), NOSPLIT, $0-12
	MOVD p+0(FP), R0
	MOVW value+8(FP), R1
	DMB  $10
	MOVW R1, (R0)
	DMB  $10
	RET
