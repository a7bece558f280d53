package flowtable

import (
	"fmt"

	"github.com/finwait/finwait/flowtable/segment"
)

// Connections yields a Record, with EndReason EndNone, of every connection
// that is followed now, until yield says false. It may be called from any
// goroutine and never stops the worker: each connection is seen as it was at
// some moment during the call. The Record is valid until yield returns.
func (t *Table) Connections(yield func(*Record) bool) error {
	var (
		batch [AccountsBatch]connection
		h     hot
		l     cold
		n     int
	)
	for slot := uint32(1); slot < t.fresh.Load(); slot++ {
		if !snapshot(&t.hot[slot], &t.cold[slot], &h, &l) {
			continue
		}
		batch[n].load(&h, &l, reference(t.reference.Load()), t.config.FirstSerial)
		if n++; n == len(batch) {
			if more, err := t.viewAll(batch[:n], yield); !more {
				return err
			}
			n = 0
		}
	}
	_, err := t.viewAll(batch[:n], yield)
	return err
}

func (t *Table) viewAll(batch []connection, yield func(*Record) bool) (more bool, err error) {
	var (
		keys     [AccountsBatch]segment.Key
		counters [AccountsBatch]segment.Counters
		r        Record
	)
	for i := range batch {
		keys[i] = batch[i].key
	}
	if t.config.Accounts != nil && len(batch) > 0 {
		if err := t.config.Accounts.Peek(keys[:len(batch)], counters[:len(batch)]); err != nil {
			return false, fmt.Errorf("reading the kernel's counters of live connections: %w", err)
		}
	}
	for i := range batch {
		batch[i].view(&r, &counters[i], t.lossy(&batch[i], batch[i].has(connEntry)))
		if !yield(&r) {
			return false, nil
		}
	}
	return true, nil
}
