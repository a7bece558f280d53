package query

import (
	"cmp"
	"slices"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// Filter says which connections are asked for; its zero value asks for all.
type Filter struct {
	predicates []predicate
	// Since and Until bound when records were published, in ns since the
	// epoch; valid where HasSince and HasUntil.
	Since, Until       int64
	HasSince, HasUntil bool
	// closing is set where only connections with a FIN can fit.
	closing bool
	// Text is the same for filters that ask for the same.
	Text string
}

// frame is what rows are looked at in.
type frame struct {
	block   *history.Block
	summary *history.Summary // nil where there is none
	names   *api.Names
	now     int64 // on the records' clock, for connections that are followed
}

// frameOf has the rows of a run.
func frameOf(run *history.Run) frame {
	return frame{block: run.Block, summary: run.Summary, names: run.Names}
}

// predicate narrows a selection in place, and returns what is left of it. Those
// of the lowest cost go first.
type predicate struct {
	cost   int
	needs  knowledge
	narrow func(f *frame, rows []uint16) []uint16
	// One of these says the same as narrow of a connection that is followed,
	// where a glance at it is enough; both are nil elsewhere. Beside tuple stands
	// what says as much as can be said of 64 at once.
	states func(client, server flowtable.State) bool
	tuple  func(*flowtable.Tuple) bool
	ends   func(*flowtable.Ends) flowtable.Guess
}

// knowledge is what must be known of a connection that is followed for a
// predicate to be right.
type knowledge uint8

const (
	// opened: what does not change once the worker has it.
	opened knowledge = iota
	// closed: how far it has closed. While a FIN is not acknowledged, the
	// kernel may know better than the worker.
	closed
	// accounted: what the kernel counts.
	accounted
)

// Costs of predicates, by the octets that they read of a row.
const (
	costTerm    = 1
	costPort    = 2
	costCode    = 4
	costNumber  = 8
	costAddress = 16
	costText    = 40
)

// selection is the numbers of rows that fit.
type selection [history.Rows]uint16

// choose returns the rows of a run that fit; they stand in s.
func (f *Filter) choose(s *selection, in *frame, from, to int) []uint16 {
	rows := s.all(from, to)
	for i := range f.predicates {
		if len(rows) == 0 {
			break
		}
		rows = f.predicates[i].narrow(in, rows)
	}
	return rows
}

// narrow goes on with rows, by the predicates that need what fits says.
func (f *Filter) narrow(in *frame, rows []uint16, fits func(knowledge) bool) []uint16 {
	for i := range f.predicates {
		if fits(f.predicates[i].needs) {
			rows = f.predicates[i].narrow(in, rows)
		}
	}
	return rows
}

// everything is known of what is on record.
func everything(knowledge) bool { return true }

// needs is the most that any predicate needs.
func (f *Filter) needs() knowledge {
	most := opened
	for i := range f.predicates {
		most = max(most, f.predicates[i].needs)
	}
	return most
}

// all is the rows from one up to another.
func (s *selection) all(from, to int) []uint16 {
	rows := s[:to-from]
	for i := range rows {
		rows[i] = uint16(from + i)
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
func terms[T ~uint8](needs knowledge, column func(*history.Block) *[history.Rows]T, bits uint32) predicate {
	return predicate{cost: costTerm, needs: needs, narrow: func(f *frame, rows []uint16) []uint16 {
		values, n := column(f.block), 0
		for _, row := range rows {
			rows[n] = row
			n += int(bits >> (values[row] & 31) & 1)
		}
		return rows[:n]
	}}
}

// narrowCodes leaves the rows whose code of a phase is from least to greatest, and
// those that have none where they are wanted: a question reads four octets of a row
// there rather than the times that the code is of, and none of a block that has no
// such code.
func (f *frame) narrowCodes(p flowtable.Phase, rows []uint16, least, greatest history.Code, unknown bool) []uint16 {
	if f.summary != nil && !unknown && !f.summary.Phases[p].Meet(least, greatest) {
		return rows[:0]
	}
	codes, n := &f.block.Phases[p], 0
	for _, row := range rows {
		rows[n] = row
		if c := codes[row]; c >= least && c <= greatest && c != history.Unknown || unknown && c == history.Unknown {
			n++
		}
	}
	return rows[:n]
}

// codesWithin are those of what is at least a bound in ns, or at most.
func codesWithin(bound int64, most bool) (least, greatest history.Code) {
	if most {
		return 0, history.Encode(bound)
	}
	return history.Encode(bound), history.Unknown
}
