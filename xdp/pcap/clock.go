package pcap

import "math/bits"

const (
	secondNS = 1e9

	// secondsMax is how many seconds on either side of the epoch int64 holds
	// as nanoseconds, whatever the fraction.
	secondsMax = 9223372035

	// offsetMax keeps the sum of an offset and a time stamp from wrapping.
	offsetMax = 1 << 61
)

// clock is the meaning of an interface's time stamps (draft-ietf-opsawg-pcapng,
// options if_tsresol and if_tsoffset): counts of 10^-exponent or 2^-exponent
// seconds since offset seconds after the epoch.
type clock struct {
	binary   bool
	exponent uint8  // 0 to 127
	perUnit  uint64 // decimal: stamps in a second, 0 where above 10^19
	offset   int64  // s
}

// microseconds is the clock of an interface that does not say.
var microseconds = clock{exponent: 6, perUnit: 1e6}

// resolution sets the clock from an if_tsresol octet.
func (c *clock) resolution(octet byte) {
	c.binary = octet&0x80 != 0
	c.exponent = octet & 0x7f
	c.perUnit = power10(c.exponent)
}

// power10 is 0 where the power does not fit.
func power10(exponent uint8) uint64 {
	if exponent > 19 {
		return 0
	}
	power := uint64(1)
	for range exponent {
		power *= 10
	}
	return power
}

// at turns a time stamp into ns since the epoch, rounded down. It is false
// where int64 does not hold them.
func (c *clock) at(stamp uint64) (int64, bool) {
	var seconds, ns uint64
	if c.binary {
		seconds, ns = c.splitBinary(stamp)
	} else {
		seconds, ns = c.splitDecimal(stamp)
	}
	if seconds > offsetMax || c.offset > offsetMax || c.offset < -offsetMax {
		return 0, false
	}
	sum := int64(seconds) + c.offset
	if sum > secondsMax || sum < -secondsMax {
		return 0, false
	}
	return sum*secondNS + int64(ns), true
}

func (c *clock) splitBinary(stamp uint64) (seconds, ns uint64) {
	if c.exponent >= 64 {
		high, _ := bits.Mul64(stamp, secondNS)
		return 0, high >> (c.exponent - 64)
	}
	fraction := stamp & (1<<c.exponent - 1)
	high, low := bits.Mul64(fraction, secondNS)
	return stamp >> c.exponent, high<<(64-c.exponent) | low>>c.exponent
}

func (c *clock) splitDecimal(stamp uint64) (seconds, ns uint64) {
	if c.perUnit == 0 {
		if per := power10(c.exponent - 9); per != 0 {
			return 0, stamp / per
		}
		return 0, 0
	}
	seconds, fraction := stamp/c.perUnit, stamp%c.perUnit
	if c.exponent <= 9 {
		return seconds, fraction * (secondNS / c.perUnit)
	}
	return seconds, fraction / (c.perUnit / secondNS)
}
