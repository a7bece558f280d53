package worker

import (
	"context"
	"fmt"
	"time"
)

const (
	// readyAhead is for how many connections beyond those that there are memory is
	// ready, in all tables together: more than come while it is not looked after,
	// and 26 MiB.
	readyAhead = 1 << 17
	// readyInterval is how often that is.
	readyInterval = 50 * time.Millisecond
)

// MakeReady has the kernel put memory behind the tables for the next connections, so
// that no worker waits for a page to be cleared at its first touch. Each table's memory
// comes from the NUMA node of its worker's CPU, as it would without. all is true when
// there is nothing left to do, now and later; when ctx is done it returns early. After an
// error, workers take memory as they come to it. It may be called from one goroutine at
// a time, before the workers run and beside them.
func (t *Team) MakeReady(ctx context.Context) (all bool, err error) {
	all = true
	for _, w := range t.workers {
		err := onNode(w.node, func() error {
			ready, err := w.member.Table.MakeReady(readyAhead/len(t.workers), ctx.Done())
			all = all && ready
			return err
		})
		if err != nil {
			return false, fmt.Errorf("making memory ready for worker %d: %w", w.id, err)
		}
	}
	return all, nil
}

// KeepReady does so again and again, until ctx is done or nothing is left to do.
func (t *Team) KeepReady(ctx context.Context) error {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		if all, err := t.MakeReady(ctx); all || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
