package history

import (
	"math/bits"

	"github.com/finwait/finwait/flowtable"
)

// Code is a duration in 32 bits, in its order: 6 bits of exponent and 26 of
// mantissa of the duration plus 1. It is exact below 2^27 - 1 ns (134 ms), and
// less than 2 parts in 10^8 too short above. The first bits of a Code are the
// duration in less precision.
type Code uint32

const (
	// Unknown is the Code of what is not known, and no other begins with the
	// first 7 bits of it.
	Unknown Code = 1<<32 - 1

	// CodeMantissa is how many bits of a Code its exponent has behind it.
	CodeMantissa = 26
)

// Encode makes a Code of ns that are not negative.
func Encode(ns int64) Code {
	v := uint64(ns) + 1
	exponent := bits.Len64(v) - 1
	// The first bit goes: it is always set.
	return Code(exponent<<CodeMantissa | int(v<<(63-exponent)<<1>>(64-CodeMantissa)))
}

// NS returns the duration, the shortest that has this Code.
func (c Code) NS() int64 {
	v := 1<<63 | uint64(c)<<(64-CodeMantissa)>>1
	return int64(v>>(63-c>>CodeMantissa) - 1)
}

// Exact tells whether no other duration has this Code.
func (c Code) Exact() bool { return c>>CodeMantissa <= CodeMantissa }

// phaseCode is the Code of a phase of a record.
func phaseCode(r *flowtable.Record, p flowtable.Phase) Code {
	if ns, known := r.Phase(p); known {
		return Encode(ns)
	}
	return Unknown
}
