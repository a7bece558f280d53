package history

import (
	"math/bits"

	"github.com/finwait/finwait/flowtable"
)

// Code is a duration in 32 bits, in its order: exact below 2^27 ns (134 ms), of
// longer ones the first 27 bits, which is less than 2 parts in 10^8 too short.
type Code uint32

// Unknown is the Code of what is not known.
const Unknown Code = 1<<32 - 1

// codeBits is how many bits of a duration are kept behind the first.
const codeBits = 26

// Encode makes a Code of ns that are not negative.
func Encode(ns int64) Code {
	shift := bits.Len64(uint64(ns)|1<<codeBits) - 1 - codeBits
	return Code(shift<<codeBits + int(ns>>shift))
}

// NS returns the duration, the shortest that has this Code.
func (c Code) NS() int64 {
	shift := max(int(c>>codeBits)-1, 0)
	return int64(c)<<shift - int64(shift)<<codeBits<<shift
}

// Codes are the phases of a connection.
type Codes [flowtable.Phases]Code

// read makes c the phases of a record.
func (c *Codes) read(r *flowtable.Record) {
	for p := range c {
		c[p] = Unknown
		if ns, known := r.Phase(flowtable.Phase(p)); known {
			c[p] = Encode(ns)
		}
	}
}
