// Package history keeps records that were published, for questions that come
// later.
//
// Ownership. Records handed to a writer stay the caller's and are valid during
// the call only. Recent has one writer and any number of readers.
package history

import (
	"context"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// History answers questions about records that were published. It is used from
// many goroutines at once.
type History interface {
	// Scan calls yield for the records published at or after since, newest
	// first, until yield returns false, ctx ends or there are no more. The
	// zero time asks for all. The record is valid during the call of yield
	// only; names belong to the process that published it and stay valid.
	// The error is that of the context or of reading the records.
	Scan(ctx context.Context, since time.Time, yield func(r *flowtable.Record, names *api.Names) bool) error
}

// Live shows the connections that are still followed. It is used from many
// goroutines at once.
type Live interface {
	// Connections calls yield for each until yield returns false, in no
	// order. A live connection is a Record with EndReason EndNone; it is
	// valid during the call of yield only.
	Connections(yield func(*flowtable.Record) bool) error
}
