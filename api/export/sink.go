// Package export brings records out of the process: to streams of text, and to
// whatever else implements Sink.
//
// Terms. A sink takes batches of records. The fan-out is a sink that hands each
// batch to several others and keeps the failure of one from the rest.
//
// Ownership. One goroutine, the publisher, calls Write and Close of a sink or
// of the fan-out. Records are the publisher's and valid during the call only: a
// sink that needs them later copies them.
package export

import (
	"github.com/finwait/finwait/flowtable"
)

// Sink takes finished records. A sink that has nowhere to put them returns an
// error rather than wait without end, since it holds up the others.
type Sink interface {
	// Write takes a batch in the order in which the records were published.
	Write(records []flowtable.Record) error
	// Close writes out what Write held back. Nothing is called after it.
	Close() error
}
