package worker

import "github.com/finwait/finwait/flowtable"

const (
	// recordBatch is how many records are handed over at once.
	recordBatch = 256
	// recordBatches is how many batches there are: two to fill and to deliver,
	// the others for an output that is not always equally fast.
	recordBatches = 8
)

// ReplayRecords takes the records of a replay's table to the goroutine that
// writes them. Nothing is lost: a table that finds no place waits for one. Next,
// Commit, Flush and Close are for the table's goroutine, Deliver for the other.
type ReplayRecords struct {
	batch []flowtable.Record // those committed so far; there is room for another
	full  chan []flowtable.Record
	empty chan []flowtable.Record
}

var _ flowtable.Records = (*ReplayRecords)(nil)

// NewReplayRecords makes the batches.
func NewReplayRecords() *ReplayRecords {
	r := &ReplayRecords{full: make(chan []flowtable.Record, recordBatches), empty: make(chan []flowtable.Record, recordBatches)}
	for range recordBatches {
		r.empty <- make([]flowtable.Record, 0, recordBatch)
	}
	r.batch = <-r.empty
	return r
}

// Next implements flowtable.Records; it is never nil.
func (r *ReplayRecords) Next() *flowtable.Record { return &r.batch[:len(r.batch)+1][len(r.batch)] }

// Commit implements flowtable.Records.
func (r *ReplayRecords) Commit() {
	if r.batch = r.batch[:len(r.batch)+1]; len(r.batch) == cap(r.batch) {
		r.Flush()
	}
}

// Flush hands over what was committed, and waits for an empty batch.
func (r *ReplayRecords) Flush() {
	if len(r.batch) == 0 {
		return
	}
	r.full <- r.batch
	r.batch = (<-r.empty)[:0]
}

// Close hands over the rest and says that it was the last.
func (r *ReplayRecords) Close() {
	r.Flush()
	close(r.full)
}

// Deliver gives all records to deliver, in batches and in order, until Close.
// They are deliver's until it returns.
func (r *ReplayRecords) Deliver(deliver func([]flowtable.Record)) {
	for batch := range r.full {
		deliver(batch)
		r.empty <- batch
	}
}
