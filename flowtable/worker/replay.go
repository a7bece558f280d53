package worker

import (
	"context"
	"errors"
	"io"
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

// Replayer follows captures, one after the other, in one table. It is used by
// one goroutine.
type Replayer struct {
	table  *flowtable.Table
	hasher segment.Hasher
	batch  [batchSize]*segment.Segment
	hashes [batchSize]uint64
}

// NewReplayer replays into a table made with hasher.
func NewReplayer(table *flowtable.Table, hasher segment.Hasher) *Replayer {
	return &Replayer{table: table, hasher: hasher}
}

// Run follows a source to its end. Connections that are open then stay open
// for the next source, as in a capture that was cut into files; where that
// begins earlier than this one ended it is another capture, and they are
// written out (end_reason capture_end). An error is the source's: what came
// before it was followed.
func (r *Replayer) Run(ctx context.Context, source Source) error {
	for first := true; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := source.Receive(r.batch[:], sourceWait)
		if n > 0 {
			if at := r.batch[0].At; first && at < r.table.Now()-disorder {
				r.table.Flush(flowtable.EndCaptureEnd)
				r.table.Restart(at)
			}
			first = false
			r.update(n)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *Replayer) update(n int) {
	for i, s := range r.batch[:n] {
		key, _ := segment.KeyOf(s)
		r.hashes[i] = r.hasher.Hash(&key)
	}
	r.table.Update(r.batch[:n], r.hashes[:n])
}

// Close writes out what is still open.
func (r *Replayer) Close() { r.table.Flush(flowtable.EndCaptureEnd) }
