#include "textflag.h"

// func publish(p *uint32, value uint32)
//
// The two barriers are DMB ISHST: stores wait for stores, and nothing else does.
TEXT ·publish(SB), NOSPLIT, $0-12
	MOVD p+0(FP), R0
	MOVW value+8(FP), R1
	DMB  $10
	MOVW R1, (R0)
	DMB  $10
	RET
