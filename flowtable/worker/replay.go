package worker

import (
	"context"
	"errors"
	"io"
	"runtime"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// disorder is how far the first segment of a source may lie before the last
// of the one before it while both are taken for one capture, in ns: more than
// any capture box reorders, less than any timeout.
const disorder = int64(time.Second)

// sourceWait is how long a slow pipe is waited for before the context is
// looked at again.
const sourceWait = 100 * time.Millisecond

// Filler is a source that decodes into memory of its caller.
type Filler interface {
	// Fill is Source.Receive, but that the segments are the caller's. What a
	// source does not know of a segment it leaves as it is.
	Fill(segments []segment.Segment, wait time.Duration) (int, error)
	// ReadAhead tells that getting at the segments takes longer than
	// following them. Otherwise handing them from one CPU to another would
	// cost more than the other CPU spares.
	ReadAhead() bool
}

// Replayer follows captures, one after the other, in one table. It is used by
// one goroutine.
type Replayer struct {
	table  *flowtable.Table
	hasher segment.Hasher
	quiet  func()
	ahead  bool // there is a CPU to read ahead on
	batch  [batchSize]*segment.Segment
	loads  []*load // for reading ahead; made when first needed
}

// NewReplayer replays into a table made with hasher. A Filler that asks for it
// is read by a goroutine of its own where there is a second CPU.
func NewReplayer(table *flowtable.Table, hasher segment.Hasher) *Replayer {
	return &Replayer{table: table, hasher: hasher, quiet: func() {}, ahead: runtime.GOMAXPROCS(0) > 1}
}

// WhenQuiet sets what is called whenever a source has no more to give for the
// moment, so that records need not be held back until the next ones come.
func (r *Replayer) WhenQuiet(quiet func()) { r.quiet = quiet }

// Run follows a source to its end. Connections that are open then stay open
// for the next source, as in a capture that was cut into files; where that
// begins earlier than this one ended it is another capture, and they are
// written out (end_reason capture_end). An error is the source's: what came
// before it was followed. The source is not used any more when Run returns.
func (r *Replayer) Run(ctx context.Context, source Source) error {
	if filler, ok := source.(Filler); ok && r.ahead && filler.ReadAhead() {
		return r.runAhead(ctx, filler)
	}
	for first := true; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := source.Receive(r.batch[:], sourceWait)
		r.follow(r.batch[:n], nil, &first)
		if err != nil {
			return ended(err)
		}
		if n < len(r.batch) {
			r.quiet()
		}
	}
}

// follow brings segments to the table, with their hashes or nil. first tells
// that they are the first of their source.
func (r *Replayer) follow(batch []*segment.Segment, hashes []uint64, first *bool) {
	if len(batch) == 0 {
		return
	}
	if at := batch[0].At; *first && at < r.table.Now()-disorder {
		r.table.Flush(flowtable.EndCaptureEnd)
		r.table.Restart(at)
	}
	*first = false
	r.table.Update(batch, hashes)
}

// ended is what Run returns where a source returned an error.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Close writes out what is still open.
func (r *Replayer) Close() { r.table.Flush(flowtable.EndCaptureEnd) }
