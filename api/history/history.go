// Package history keeps records that were published, for questions that come
// later.
//
// Terms. A record's position is how many were published before it. A block is
// up to Rows records by columns, so that a question reads the columns that it
// asks about and no others; a run is consecutive rows of one. History is what
// questions are put to; Recent, in memory, is one.
//
// Ownership. Records handed to a writer stay the caller's and are valid during
// the call only. Recent has one writer and any number of readers, none of which
// the writer ever waits for.
package history

import (
	"context"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// History answers questions about records that were published. It is used from
// many goroutines at once.
type History interface {
	// Span tells what is kept now.
	Span() Span
	// Seek returns the position of the first record kept that was published
	// at or after a time, in ns since the epoch; End of the span where there
	// is none.
	Seek(ctx context.Context, published int64) (uint64, error)
	// Scan calls yield for the runs between two positions, until it returns
	// false, ctx ends or there are no more. It returns how many records
	// between them were overwritten before they could be shown. A run is
	// valid during the call of yield only, and yield must not wait for
	// anything: it holds a block that the writer wants back. The error is
	// that of the context or of reading the records.
	Scan(ctx context.Context, r Range, yield func(Run) bool) (overwritten uint64, err error)
}

// Span is what a history keeps.
type Span struct {
	// ID tells this history from others, whose positions mean other records.
	ID uint64
	// First and End bound the positions that are kept: End is that of the
	// next record to come.
	First, End uint64
	// FromAt is a time in ns since the epoch since when every record that was
	// published is kept.
	FromAt int64
	// NewestAt is when the newest was published; valid where End is not 0.
	NewestAt int64
}

// Range is the positions from First up to End, not including End.
type Range struct {
	First, End uint64
	// Ascending shows the oldest first, else the newest first: the order of
	// runs. Rows of a run are always in the order of their publication.
	Ascending bool
}

// Run is the rows From up to To of a block, not including To.
type Run struct {
	Block    *Block
	From, To int
	Position uint64     // of row 0 of the block
	Names    *api.Names // of the records
	Summary  *Summary   // of all rows of the block; nil while it is not full
}

// Live shows the connections that are still followed. It is used from many
// goroutines at once.
type Live interface {
	// Look calls yield for each that g has shown, until it returns false, in
	// no order, as far as the workers know it: flowtable.Table.Look says what
	// that leaves out. It may show some that g would have counted or passed by.
	// The record is valid during the call of yield only.
	Look(g *flowtable.Glance, yield func(flowtable.Place, *flowtable.Record) bool)
	// Seek finds the place of a serial number among those that are followed.
	Seek(serial uint64) (p flowtable.Place, found bool)
	// View calls yield for those of places that are still followed, with all
	// that is known, and with their numbers among the places.
	View(places []flowtable.Place, yield func(i int, r *flowtable.Record) bool) error
}
