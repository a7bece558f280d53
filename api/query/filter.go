package query

import (
	"cmp"
	"slices"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
)

// Filter says which connections are asked for; its zero value asks for all.
type Filter struct {
	predicates []predicate
	// Since and Until bound when records were published, in ns since the
	// epoch; valid where HasSince and HasUntil.
	Since, Until       int64
	HasSince, HasUntil bool
	// Text is the same for filters that ask for the same.
	Text string
}

// frame is what rows are looked at in.
type frame struct {
	block *history.Block
	names *api.Names
	now   int64 // on the records' clock, for connections that are followed
}

// predicate narrows a selection in place, and returns what is left of it. Those
// of the lowest cost go first.
type predicate struct {
	cost   int
	narrow func(f *frame, rows []uint16) []uint16
}

// Costs of predicates, by the octets that they read of a row.
const (
	costTerm    = 1
	costPort    = 2
	costNumber  = 8
	costAddress = 16
	costText    = 40
)

// selection is the numbers of rows that fit.
type selection [history.Rows]uint16

// choose returns the rows of a run that fit; they stand in s.
func (f *Filter) choose(s *selection, in *frame, from, to int) []uint16 {
	rows := s[:to-from]
	for i := range rows {
		rows[i] = uint16(from + i)
	}
	for i := range f.predicates {
		if len(rows) == 0 {
			break
		}
		rows = f.predicates[i].narrow(in, rows)
	}
	return rows
}

func (f *Filter) add(p predicate) { f.predicates = append(f.predicates, p) }

func (f *Filter) order() {
	slices.SortStableFunc(f.predicates, func(a, b predicate) int { return cmp.Compare(a.cost, b.cost) })
}

// keep leaves the rows for which fits is true.
func keep(rows []uint16, fits func(row uint16) bool) []uint16 {
	n := 0
	for _, row := range rows {
		rows[n] = row
		if fits(row) {
			n++
		}
	}
	return rows[:n]
}

// terms fits where the bit of a row's term is set. Columns of terms are one
// octet wide.
func terms[T ~uint8](column func(*history.Block) *[history.Rows]T, bits uint32) predicate {
	return predicate{costTerm, func(f *frame, rows []uint16) []uint16 {
		values, n := column(f.block), 0
		for _, row := range rows {
			rows[n] = row
			n += int(bits >> (values[row] & 31) & 1)
		}
		return rows[:n]
	}}
}
