package api

import "strconv"

// Duration writes ns for people: three digits in the unit that suits them, cut
// off rather than rounded, so that no value passes into the next unit.
func Duration(ns int64) string {
	switch {
	case ns < 1e3:
		return strconv.FormatInt(ns, 10) + "ns"
	case ns < 1e6:
		return digits(ns, 1e3) + "us"
	case ns < 1e9:
		return digits(ns, 1e6) + "ms"
	default:
		return digits(ns, 1e9) + "s"
	}
}

// digits writes v/unit, which is at least 1, with three digits or, from 1000
// on, all that are before the point.
func digits(v, unit int64) string {
	decimals, step := 2, unit/100
	switch {
	case v >= 100*unit:
		decimals, step = 0, unit
	case v >= 10*unit:
		decimals, step = 1, unit/10
	}
	v /= step
	whole := v
	for range decimals {
		whole /= 10
	}
	text := strconv.FormatInt(whole, 10)
	if decimals == 0 {
		return text
	}
	rest := strconv.FormatInt(v, 10)
	return text + "." + rest[len(rest)-decimals:]
}
