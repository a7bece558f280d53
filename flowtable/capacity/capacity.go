// Package capacity measures what following a segment costs: in a flow table,
// in a Go map that does the same, and by the machine's own limit.
//
// # Terms
//
// A size is a number of connections, all of them established and alive. A
// contender is what is measured at every size. A round measures every
// contender at every size once, so that whatever disturbs the machine strikes
// all of them alike; a ratio is best taken within one round.
//
// # What is measured
//
// The segments come from arithmetic on a connection's number, a batch of 64 at
// a time in memory that stays in the first cache: nothing is fetched to make
// one. Connections are visited in a pseudo-random permutation of all of them,
// computed as well and not stored. Each visit is one data segment of 1,000
// octets that continues the sequence numbers of its connection, from the one
// end and from the other in turns.
//
//   - Finwait follows these segments with flowtable.Table.Update, the keys
//     hashed before as a worker does it.
//   - GoMap looks the key up in a Go map of pointers and counts the same:
//     packets, octets, payload by sequence numbers, highest acknowledgement,
//     times. It has no states, no timers and no live views to keep.
//   - Limit adds to one word in each of two adjacent cache lines of items of 128
//     octets in huge pages, eight independent items at a time in an unrolled
//     loop. It looks nothing up and follows nothing; no table that touches two
//     lines of memory per segment can be faster.
//   - Generation makes the segments and drops them.
//
// Finwait and GoMap each contain the whole of Generation. Limit contains only
// the computing of the order, in longer batches, whatever was fastest when it
// was tried. So both ratios speak against Finwait: what it shares with GoMap
// makes the two more alike, and what it does not share with Limit sets them
// apart.
//
// Connections are measured whole, too, from SYN to record, in a table of their
// own that is kept more than half full; one in eight is left open and ended by
// its idle timeout.
//
// Times are of the processor that the measuring thread had: what other programs
// take of it does not count, what they do to caches and memory does.
//
// Everything is counted: where a table lost a connection, an octet or a record,
// Measure returns an error in place of figures.
//
// # Ownership
//
// Measure uses the goroutine of its caller, which it locks to its thread, and
// nothing else runs meanwhile that it started. The memory is mapped outside of
// the Go heap, except for that of GoMap.
package capacity

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/finwait/finwait/flowtable"
)

// MinFlows is the least size that says anything.
const MinFlows = 1000

// Options say what to measure.
type Options struct {
	Flows       []uint32 // sizes, each at least MinFlows and at most flowtable.MaxMaxFlows
	Rounds      int      // at least 1
	Segments    int      // of each contender in a round; 0 leaves the contenders out
	Connections int      // whole ones in a round; 0 leaves them out
}

// Progress hears how far the measurement is.
type Progress interface {
	Stage(what string, steps int64)
	Add(steps int64)
}

// Times are of the rounds, in order, in ns of processor time per segment or per
// connection.
type Times []float64

// Result is what was found at one size.
type Result struct {
	Flows uint32

	// ns per segment; empty where the contenders were left out.
	Finwait, GoMap, Limit, Generation Times

	// Connections is ns per whole connection; empty where they were left out.
	Connections Times

	TableOctets float64 // reserved per connection, outside of the heap
	GoMapOctets float64 // of heap per connection

	// Per segment of Finwait in the measured rounds.
	Allocations, AllocatedOctets float64
	GCCycles                     uint32 // in these rounds

	// Heap is the live Go heap, in octets, and GC the ns that a whole cycle
	// of garbage collection took, with the tables of this size and all smaller
	// ones filled and no Go map made. GoMapGC is the same with those maps. All
	// three are 0 where the contenders were left out.
	Heap        uint64
	GC, GoMapGC float64
}

// Measure measures all sizes. It returns early where ctx ends.
func Measure(ctx context.Context, o Options, p Progress) (_ []Result, err error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o.Flows = slices.Compact(slices.Sorted(slices.Values(o.Flows)))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	results := make([]Result, len(o.Flows))
	for i, flows := range o.Flows {
		results[i].Flows = flows
	}
	if o.Segments > 0 {
		if err := measureSegments(ctx, &o, p, results); err != nil {
			return nil, err
		}
	}
	if o.Connections > 0 {
		if err := measureConnections(ctx, &o, p, results); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func (o *Options) validate() error {
	if len(o.Flows) == 0 {
		return errors.New("no number of flows was given")
	}
	for _, n := range o.Flows {
		if n < MinFlows || n > flowtable.MaxMaxFlows {
			return fmt.Errorf("%d flows: choose %d to %d", n, MinFlows, flowtable.MaxMaxFlows)
		}
	}
	if o.Rounds < 1 || o.Segments < 0 || o.Connections < 0 || o.Segments+o.Connections == 0 {
		return fmt.Errorf("%d rounds of %d segments and %d connections: there is nothing to measure", o.Rounds, o.Segments, o.Connections)
	}
	return nil
}
