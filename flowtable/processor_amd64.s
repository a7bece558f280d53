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

// PLACES takes the eight numbers at BX times 1<<shift, which is how far from the base
// in AX their lines are.
#define PLACES(shift) \
	MOVL 0(BX), CX; \
	MOVL 4(BX), DX; \
	MOVL 8(BX), SI; \
	MOVL 12(BX), DI; \
	MOVL 16(BX), R8; \
	MOVL 20(BX), R9; \
	MOVL 24(BX), R10; \
	MOVL 28(BX), R11; \
	SHLQ $(shift), CX; \
	SHLQ $(shift), DX; \
	SHLQ $(shift), SI; \
	SHLQ $(shift), DI; \
	SHLQ $(shift), R8; \
	SHLQ $(shift), R9; \
	SHLQ $(shift), R10; \
	SHLQ $(shift), R11

// LINES fetches the lines at these places.
#define LINES \
	PREFETCHT0 (AX)(CX*1); \
	PREFETCHT0 (AX)(DX*1); \
	PREFETCHT0 (AX)(SI*1); \
	PREFETCHT0 (AX)(DI*1); \
	PREFETCHT0 (AX)(R8*1); \
	PREFETCHT0 (AX)(R9*1); \
	PREFETCHT0 (AX)(R10*1); \
	PREFETCHT0 (AX)(R11*1)

// func fetchEight(base unsafe.Pointer, numbers *[group]uint32)
TEXT ·fetchEight(SB), NOSPLIT, $0-16
	MOVQ base+0(FP), AX
	MOVQ numbers+8(FP), BX
	PLACES(6)
	LINES
	RET

// func fetchEightWords(base unsafe.Pointer, numbers *[group]uint32)
TEXT ·fetchEightWords(SB), NOSPLIT, $0-16
	MOVQ base+0(FP), AX
	MOVQ numbers+8(FP), BX
	PLACES(3)
	LINES
	RET

// func fetchEightOctets(base unsafe.Pointer, numbers *[group]uint32)
TEXT ·fetchEightOctets(SB), NOSPLIT, $0-16
	MOVQ base+0(FP), AX
	MOVQ numbers+8(FP), BX
	PLACES(0)
	LINES
	RET

// PAIR fetches two lines side by side into the second level of the cache. The first has
// the lines of the segments that are followed meanwhile; with ten million connections
// these took longer when it was to have the pairs, too.
#define PAIR(place) \
	PREFETCHT1 (AX)(place*1); \
	PREFETCHT1 64(AX)(place*1)

// func fetchEightPairs(base unsafe.Pointer, numbers *[group]uint32)
TEXT ·fetchEightPairs(SB), NOSPLIT, $0-16
	MOVQ base+0(FP), AX
	MOVQ numbers+8(FP), BX
	PLACES(7)
	PAIR(CX)
	PAIR(DX)
	PAIR(SI)
	PAIR(DI)
	PAIR(R8)
	PAIR(R9)
	PAIR(R10)
	PAIR(R11)
	RET
