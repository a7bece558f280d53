package query

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseTime reads RFC 3339, or a duration back from now with or without the
// minus of looking back. It returns ns since the epoch.
func parseTime(text string, now time.Time) (int64, error) {
	if back, err := time.ParseDuration(text); err == nil {
		return now.Add(-back.Abs()).UnixNano(), nil
	}
	// An unescaped + in a query arrives as a space.
	at, err := time.Parse(time.RFC3339Nano, strings.Replace(text, " ", "+", 1))
	if err != nil || at.Year() < 1678 || at.Year() > 2261 { // what has nanoseconds since the epoch
		return 0, errors.New(`neither RFC 3339 such as "2026-01-31T12:00:00Z" nor a duration back such as "-15m"`)
	}
	return at.UnixNano(), nil
}

// parseDuration reads a duration of 0 or more, and returns ns.
func parseDuration(text string) (int64, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errors.New(`not a duration such as "250ms", "5s" or "1m30s"`)
	}
	return int64(d), nil
}

// parseNumber reads a whole number of 0 or more, with k, M, G or T behind it for
// powers of 1000.
func parseNumber(text string) (int64, error) {
	digits, scale := text, int64(1)
	if i := len(text) - 1; i > 0 {
		if power := strings.IndexByte("kMGT", text[i]); power >= 0 {
			digits = text[:i]
			for range power + 1 {
				scale *= 1000
			}
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/scale {
		return 0, errors.New(`not a whole number such as "1500", "10k" or "2G"`)
	}
	return int64(n) * scale, nil
}

// numbers is a set of numbers of 16 bits.
type numbers [1 << 16 / 64]uint64

func (s *numbers) has(n uint16) bool { return s[n>>6]>>(n&63)&1 != 0 }

// parseNumbers reads numbers from least to most, and ranges of them.
func parseNumbers(values []string, least, most uint16) (*numbers, string, error) {
	set := new(numbers)
	for _, text := range values {
		low, high, isRange := strings.Cut(text, "-")
		if !isRange {
			high = low
		}
		first, errFirst := strconv.ParseUint(low, 10, 16)
		last, errLast := strconv.ParseUint(high, 10, 16)
		if errFirst != nil || errLast != nil || first > last || first < uint64(least) || last > uint64(most) {
			return nil, text, fmt.Errorf("not a number or range such as 8000-8099 from %d to %d", least, most)
		}
		for n := first; n <= last; n++ {
			set[n>>6] |= 1 << (n & 63)
		}
	}
	return set, "", nil
}

// oneOf says what may be chosen from.
func oneOf(terms []string) error {
	return fmt.Errorf("choose from %s", strings.Join(terms, ", "))
}
