package report

import (
	"math"
	"slices"
)

// joinCharts makes one chart of all those of the same name: the median of what
// stands at the same X or has the same label, in the order in which it came.
func joinCharts(charts []Chart) []Chart {
	var joined []Chart
	for len(charts) > 0 {
		same := slices.Collect(func(yield func(Chart) bool) {
			for _, c := range charts {
				if c.Name == charts[0].Name && !yield(c) {
					return
				}
			}
		})
		first := same[0]
		first.Series, first.Bars = joinSeries(same), joinBars(same)
		joined = append(joined, first)
		charts = slices.DeleteFunc(slices.Clone(charts), func(c Chart) bool { return c.Name == first.Name })
	}
	return joined
}

// spot is what repeats have in common: a series and its X, or a bar's label and
// the place of a value in it.
type spot struct {
	name string
	x    float64
}

func joinSeries(charts []Chart) []Series {
	var joined []Series
	repeats := map[spot][]float64{}
	for _, c := range charts {
		for _, s := range c.Series {
			at := slices.IndexFunc(joined, func(j Series) bool { return j.Name == s.Name })
			if at < 0 {
				joined = append(joined, Series{Name: s.Name})
				at = len(joined) - 1
			}
			for i, x := range s.X {
				key := spot{s.Name, x}
				if repeats[key] == nil {
					joined[at].X = append(joined[at].X, x)
				}
				repeats[key] = append(repeats[key], s.Y[i])
			}
		}
	}
	for i, s := range joined {
		slices.Sort(s.X)
		for _, x := range s.X {
			joined[i].Y = append(joined[i].Y, Median(repeats[spot{s.Name, x}]))
		}
	}
	return joined
}

func joinBars(charts []Chart) []Bar {
	var joined []Bar
	repeats := map[spot][]float64{}
	for _, c := range charts {
		for _, b := range c.Bars {
			if !slices.ContainsFunc(joined, func(j Bar) bool { return j.Label == b.Label }) {
				joined = append(joined, Bar{Label: b.Label, Values: make([]float64, len(b.Values))})
			}
			for i, v := range b.Values {
				key := spot{b.Label, float64(i)}
				repeats[key] = append(repeats[key], v)
			}
		}
	}
	for _, b := range joined {
		for i := range b.Values {
			b.Values[i] = Median(repeats[spot{b.Label, float64(i)}])
		}
	}
	return joined
}

// Median is the middle of the values, the mean of the two in the middle of an
// even number, and not a number of none. The values stay as they are.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
