package worker

import (
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// Source delivers the segments of one receive queue, in the order in which
// they arrived there. It is used by one worker's goroutine only.
type Source interface {
	// Receive fills batch with segments and returns how many, waiting at
	// most wait for the first; 0 and no error where none came. The segments
	// are valid until the next call. io.EOF says that no more will come.
	Receive(batch []*segment.Segment, wait time.Duration) (int, error)
}
