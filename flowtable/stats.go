package flowtable

import "sync/atomic"

// Stats counts what a table did. The table's worker writes, anyone may read.
type Stats struct {
	Connections atomic.Int64 // followed now
	Opened      atomic.Uint64
	Records     atomic.Uint64 // written, slices included
	ByKind      [CloseKinds]atomic.Uint64
	ByReason    [EndReasons]atomic.Uint64
	Evicted     [classes]atomic.Uint64 // by what gave way

	Late            atomic.Uint64 // segments of a tuple that closed before and has no SYN since
	RecordsLost     atomic.Uint64 // records for which there was no place
	TuplesForgotten atomic.Uint64 // closed tuples that gave way before 2 MSL were over
	AccountsFailed  atomic.Uint64 // kernel counters that were not there or could not be read
}

// EvictedNames say, in the order of Stats.Evicted, what gave way.
var EvictedNames = [classes]string{"opening", "established", "closing", "lingering"}
