package history

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// recentChunk is how many records are copied under one hold of the lock: some
// 15 KB, so that neither side waits longer for the other than that copy takes
// (single microseconds).
const recentChunk = 64

// Recent keeps the last records that were published, in memory reserved when it
// is made, without pointers. One goroutine writes, any number scan; a scan
// holds the lock for recentChunk records at a time, and a record that the
// writer overwrites meanwhile ends the scan there, since all older ones are
// gone too. It is a Sink and a History.
type Recent struct {
	names *api.Names
	now   func() time.Time

	mu      sync.RWMutex
	slots   []published
	written uint64 // records ever; the next goes to slots[written%len(slots)]
	last    int64  // publishing time of the newest
}

// published is a record and when it was published, in ns since the epoch; it
// never falls from one record to the next, even where the system's clock does.
type published struct {
	at     int64
	record flowtable.Record
}

// RecentRecordSize is what one record takes in a Recent, in octets.
const RecentRecordSize = int(unsafe.Sizeof(published{}))

// NewRecent reserves room for capacity records, RecentRecordSize octets each.
// names are those of the records to come.
func NewRecent(capacity int, names *api.Names) (*Recent, error) {
	if capacity < 1 {
		return nil, fmt.Errorf("recent records %d: keep at least 1", capacity)
	}
	return &Recent{names: names, now: time.Now, slots: make([]published, capacity)}, nil
}

// Write keeps copies of records, the oldest of which make room. It never
// returns an error.
func (h *Recent) Write(records []flowtable.Record) error {
	at := h.now().UnixNano()
	for len(records) > 0 {
		n := min(len(records), recentChunk)
		h.write(records[:n], at)
		records = records[n:]
	}
	return nil
}

// Close does nothing: what was kept can still be scanned.
func (h *Recent) Close() error { return nil }

// Len is how many records are kept now.
func (h *Recent) Len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return int(min(h.written, uint64(len(h.slots))))
}

// Cap is how many records are kept at most.
func (h *Recent) Cap() int { return len(h.slots) }

// Scan implements History. Records published while it runs are not shown.
func (h *Recent) Scan(ctx context.Context, since time.Time, yield func(*flowtable.Record, *api.Names) bool) error {
	var chunk [recentChunk]published
	oldest := sinceNS(since)
	h.mu.RLock()
	next := h.written
	h.mu.RUnlock()
	for next > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := h.read(chunk[:], next)
		for i := range n {
			if chunk[i].at < oldest || !yield(&chunk[i].record, h.names) {
				return nil
			}
		}
		if n == 0 {
			return nil
		}
		next -= uint64(n)
	}
	return nil
}

func (h *Recent) write(records []flowtable.Record, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = max(h.last, at)
	for i := range records {
		slot := &h.slots[h.written%uint64(len(h.slots))]
		slot.at, slot.record = h.last, records[i]
		h.written++
	}
}

// read copies the newest records before number next into chunk, newest first,
// and returns how many: none where they were overwritten.
func (h *Recent) read(chunk []published, next uint64) int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	size := uint64(len(h.slots))
	var oldest uint64 // number of the oldest record kept
	if h.written > size {
		oldest = h.written - size
	}
	n := 0
	for n < len(chunk) && next > oldest {
		next--
		chunk[n] = h.slots[next%size]
		n++
	}
	return n
}

// sinceNS is the zero time as the beginning of all, since UnixNano is not
// defined for it.
func sinceNS(since time.Time) int64 {
	if since.IsZero() {
		return -1 << 63
	}
	return since.UnixNano()
}
