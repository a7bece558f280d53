package flowtable

import "sync/atomic"

// Stats counts what a table did. The table's worker writes, anyone may read.
type Stats struct {
	Connections Counter[int64] // followed now
	Opened      Counter[uint64]
	Records     Counter[uint64] // written, slices included
	ByKind      [CloseKinds]Counter[uint64]
	ByReason    [EndReasons]Counter[uint64]
	Evicted     [classes]Counter[uint64] // by what gave way

	Late            Counter[uint64] // segments of a tuple that closed before and has no SYN since
	RecordsLost     Counter[uint64] // records for which there was no place
	TuplesForgotten Counter[uint64] // closed tuples that gave way before 2 MSL were over
	AccountsFailed  Counter[uint64] // kernel counters that were not there or could not be read
}

// Counter is a number that one goroutine changes and any may read.
type Counter[T int64 | uint64] struct{ n atomic.Uint64 }

// Load returns the number.
func (c *Counter[T]) Load() T { return T(c.n.Load()) }

func (c *Counter[T]) add(n T) { addAlone(&c.n, uint64(n)) }

// EvictedNames say, in the order of Stats.Evicted, what gave way.
var EvictedNames = [classes]string{"opening", "established", "closing", "lingering"}
