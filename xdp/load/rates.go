package load

import (
	"fmt"
	"strconv"
	"strings"
)

// maxSteps bounds the steps of one search.
const maxSteps = 1000

// ParseRates reads the steps of a search, in connections a second: one rate,
// rates joined by commas, FROM:TO:STEP, or FROM..TO in ten steps of the same
// size. A k or M behind a number stands for thousands or millions.
func ParseRates(text string) ([]float64, error) {
	rates, err := parseRates(text)
	if err != nil {
		return nil, fmt.Errorf("rate %q: %w; write, for example, 1000, 500,1k,2k, 1k:10k:500 or 1k..10k", text, err)
	}
	return rates, nil
}

func parseRates(text string) ([]float64, error) {
	if from, to, found := strings.Cut(text, ".."); found {
		first, last, err := parseBounds(from, to)
		if err != nil {
			return nil, err
		}
		const intervals = 9
		return steps(first, last, (last-first)/intervals)
	}
	if parts := strings.Split(text, ":"); len(parts) > 1 {
		if len(parts) != 3 {
			return nil, fmt.Errorf("FROM:TO:STEP has three numbers")
		}
		first, last, err := parseBounds(parts[0], parts[1])
		if err != nil {
			return nil, err
		}
		step, err := parseRate(parts[2])
		if err != nil {
			return nil, err
		}
		return steps(first, last, step)
	}
	var rates []float64
	for part := range strings.SplitSeq(text, ",") {
		r, err := parseRate(part)
		if err != nil {
			return nil, err
		}
		if n := len(rates); n > 0 && r <= rates[n-1] {
			return nil, fmt.Errorf("%v follows %v: rates must ascend", r, rates[n-1])
		}
		rates = append(rates, r)
	}
	return rates, nil
}

func parseBounds(from, to string) (first, last float64, err error) {
	if first, err = parseRate(from); err != nil {
		return 0, 0, err
	}
	if last, err = parseRate(to); err == nil && last <= first {
		err = fmt.Errorf("%v is not more than %v", last, first)
	}
	return first, last, err
}

// steps goes from the first to the last, which may be a step's fraction short.
func steps(first, last, step float64) ([]float64, error) {
	const rounding = 1e-9
	n := int((last-first)/step + rounding)
	if n >= maxSteps {
		return nil, fmt.Errorf("%d steps: at most %d are taken", n+1, maxSteps)
	}
	rates := make([]float64, 0, n+1)
	for i := range n + 1 {
		rates = append(rates, first+float64(i)*step)
	}
	return rates, nil
}

func parseRate(text string) (float64, error) {
	factor := 1.0
	number := text
	if n, found := strings.CutSuffix(text, "k"); found {
		number, factor = n, 1e3
	} else if n, found := strings.CutSuffix(text, "M"); found {
		number, factor = n, 1e6
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || !(value > 0) || value*factor > maxRate {
		return 0, fmt.Errorf("%q is no number of more than 0 and at most %d", text, maxRate)
	}
	return value * factor, nil
}
