#include "textflag.h"

// func fetchLine(p unsafe.Pointer)
TEXT ·fetchLine(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	RET

// func fetchPassing(p unsafe.Pointer)
TEXT ·fetchPassing(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1STRM
	RET

// func fetchLines(p unsafe.Pointer)
TEXT ·fetchLines(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	PRFM 64(R0), PLDL1KEEP
	RET

// PLACES makes the eight numbers at R1 addresses, each 1<<shift octets apart from the
// next number's, from the base in R0 on.
#define PLACES(shift) \
	MOVWU 0(R1), R2; \
	MOVWU 4(R1), R3; \
	MOVWU 8(R1), R4; \
	MOVWU 12(R1), R5; \
	MOVWU 16(R1), R6; \
	MOVWU 20(R1), R7; \
	MOVWU 24(R1), R8; \
	MOVWU 28(R1), R9; \
	ADD R2<<(shift), R0, R2; \
	ADD R3<<(shift), R0, R3; \
	ADD R4<<(shift), R0, R4; \
	ADD R5<<(shift), R0, R5; \
	ADD R6<<(shift), R0, R6; \
	ADD R7<<(shift), R0, R7; \
	ADD R8<<(shift), R0, R8; \
	ADD R9<<(shift), R0, R9

// LINES fetches the lines at these addresses.
#define LINES \
	PRFM (R2), PLDL1KEEP; \
	PRFM (R3), PLDL1KEEP; \
	PRFM (R4), PLDL1KEEP; \
	PRFM (R5), PLDL1KEEP; \
	PRFM (R6), PLDL1KEEP; \
	PRFM (R7), PLDL1KEEP; \
	PRFM (R8), PLDL1KEEP; \
	PRFM (R9), PLDL1KEEP

// func fetchEight(base unsafe.Pointer, numbers *[group]uint32)
TEXT ·fetchEight(SB), NOSPLIT, $0-16
	MOVD base+0(FP), R0
	MOVD numbers+8(FP), R1
	PLACES(6)
	LINES
	RET

// func fetchEightWords(base unsafe.Pointer, numbers *[group]uint32)
TEXT ·fetchEightWords(SB), NOSPLIT, $0-16
	MOVD base+0(FP), R0
	MOVD numbers+8(FP), R1
	PLACES(3)
	LINES
	RET

// func fetchEightOctets(base unsafe.Pointer, numbers *[group]uint32)
TEXT ·fetchEightOctets(SB), NOSPLIT, $0-16
	MOVD base+0(FP), R0
	MOVD numbers+8(FP), R1
	PLACES(0)
	LINES
	RET

// func fetchEightPairs(base unsafe.Pointer, numbers *[group]uint32)
TEXT ·fetchEightPairs(SB), NOSPLIT, $0-16
	MOVD base+0(FP), R0
	MOVD numbers+8(FP), R1
	PLACES(7)
	PRFM (R2), PLDL1KEEP
	PRFM 64(R2), PLDL1KEEP
	PRFM (R3), PLDL1KEEP
	PRFM 64(R3), PLDL1KEEP
	PRFM (R4), PLDL1KEEP
	PRFM 64(R4), PLDL1KEEP
	PRFM (R5), PLDL1KEEP
	PRFM 64(R5), PLDL1KEEP
	PRFM (R6), PLDL1KEEP
	PRFM 64(R6), PLDL1KEEP
	PRFM (R7), PLDL1KEEP
	PRFM 64(R7), PLDL1KEEP
	PRFM (R8), PLDL1KEEP
	PRFM 64(R8), PLDL1KEEP
	PRFM (R9), PLDL1KEEP
	PRFM 64(R9), PLDL1KEEP
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
