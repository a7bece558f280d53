package query

import (
	"math"
	"slices"

	"github.com/finwait/finwait/flowtable"
)

// glance has connections shown that may fit. Where whole is true, all that it
// would show or count fit.
func (f *Filter) glance() (g flowtable.Glance, whole bool) {
	var byTuple []predicate
	whole = true
	for _, p := range f.predicates {
		if p.tuple != nil {
			byTuple = append(byTuple, p)
		}
		whole = whole && (p.tuple != nil || p.states != nil)
	}
	for o := flowtable.None + 1; o < flowtable.Outlines; o++ {
		switch {
		case f.closing && !o.MayHaveFIN(), !f.takes(o):
			g.Sights[o] = flowtable.Pass
		case o.Undecided():
			g.Sights[o] = flowtable.Insist // the kernel is asked
		}
	}
	if len(byTuple) == 0 {
		return g, whole
	}
	g.Fits = func(t *flowtable.Tuple) bool {
		for i := range byTuple {
			if !byTuple[i].tuple(t) {
				return false
			}
		}
		return true
	}
	// Addresses, which cost more elsewhere, go before ports: side by side they cost
	// less, and leave fewer.
	slices.Reverse(byTuple)
	g.Among = func(e *flowtable.Ends) flowtable.Guess {
		guess := flowtable.Guess{Sure: ^uint64(0), Possible: ^uint64(0)}
		for i := 0; i < len(byTuple) && guess.Possible != 0; i++ {
			guess = guess.And(byTuple[i].ends(e))
		}
		return guess
	}
	return g, whole
}

// takes tells whether connections of an outline may fit by their states.
func (f *Filter) takes(o flowtable.Outline) bool {
	for client, server := range o.Possible() {
		fit := true
		for i := range f.predicates {
			if states := f.predicates[i].states; states != nil {
				fit = fit && states(client, server)
			}
		}
		if fit {
			return true
		}
	}
	return false
}

// restrict has a glance count what comes after the last of an order that is full,
// at a time on the records' clock.
func (o *Order) restrict(g *flowtable.Glance, last ranked, now int64) {
	switch {
	case !last.known:
	case o.by.start != 0:
		g.Bounded, g.NotBefore, g.NotAfter = true, math.MinInt64, math.MaxInt64
		switch growing := o.by.start > 0; {
		case growing && o.Descending:
			g.NotBefore = last.value
		case growing:
			g.NotAfter = last.value
		case !o.Descending:
			g.NotBefore = now - last.value
		case last.value > 0: // all that began after now have the age 0
			g.NotAfter = now - last.value
		}
	case o.by.fin:
		for of := flowtable.None + 1; of < flowtable.Outlines; of++ {
			if g.Sights[of] == flowtable.Show && !of.MayHaveFIN() {
				g.Sights[of] = flowtable.Count
			}
		}
		if o.byHalfClosed() && last.value > 0 {
			g.HalfClosed, g.HalfClosedBy = true, now-last.value
		}
	}
}
