package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"sync/atomic"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// readers is how many blocks may be held by readers at a time; one more waits.
// A reader holds one, for as long as it takes to go over its rows.
const readers = 4

// Recent keeps the last records that were published, in memory reserved when it
// is made. It is a Sink and a History.
//
// It is a ring of blocks. Rows that were written are never changed, so that
// readers go over them where they stand, until the whole block is taken for new
// records. A reader therefore holds its block meanwhile; the writer passes over
// blocks that are held, of which it has more than readers can hold, and waits
// for nobody.
type Recent struct {
	names    *api.Names
	now      func() time.Time
	id       uint64
	began    int64 // ns since the epoch
	capacity uint64

	blocks []Block // memory of flowtable.Reserve
	holds  []hold  // of the blocks
	// places has, by a block's number modulo its length, which of blocks has
	// it, plus 1.
	places  []atomic.Uint32
	reading chan struct{}

	written atomic.Uint64 // position of the next record
	newest  atomic.Int64  // publishing time of the newest
}

// hold is who uses a block.
type hold struct {
	number  atomic.Uint64 // of the block, plus 1; 0 while it is free
	readers atomic.Int32
}

// NewRecent reserves room for capacity records. names are those of the records
// to come.
func NewRecent(capacity int, names *api.Names) (*Recent, error) {
	if capacity < 1 {
		return nil, fmt.Errorf("recent records %d: keep at least 1", capacity)
	}
	// One block more is being filled, and readers may hold blocks that were
	// taken out of the ring.
	places := (capacity+Rows-1)/Rows + 1
	blocks, err := flowtable.Reserve[Block](uint64(places + readers))
	if err != nil {
		return nil, fmt.Errorf("recent records %d: %w; keep fewer", capacity, err)
	}
	h := &Recent{
		names: names, now: time.Now, id: rand.Uint64(), capacity: uint64(capacity),
		blocks: blocks, holds: make([]hold, len(blocks)), places: make([]atomic.Uint32, places),
		reading: make(chan struct{}, readers),
	}
	h.began = h.now().UnixNano()
	h.newest.Store(h.began)
	return h, nil
}

// SetClock makes records published when a clock says; before the first is
// written. Without it the clock is the system's.
func (h *Recent) SetClock(now func() time.Time) { h.now = now }

// Memory is what NewRecent reserves for so many records, in octets.
func Memory(capacity int) uint64 {
	return uint64((capacity+Rows-1)/Rows+1+readers) * uint64(blockSize)
}

// Write keeps copies of records, the oldest of which make room. It never
// returns an error.
func (h *Recent) Write(records []flowtable.Record) error {
	at := h.now().UnixNano()
	if h.written.Load() > 0 { // a clock that is stepped back changes no order
		at = max(at, h.newest.Load())
	}
	h.newest.Store(at)
	for len(records) > 0 {
		written := h.written.Load()
		row := int(written % Rows)
		if row == 0 {
			h.take(written / Rows)
		}
		block := &h.blocks[h.places[h.place(written/Rows)].Load()-1]
		n := min(len(records), Rows-row)
		for i := range n {
			block.Set(row+i, &records[i], at)
		}
		h.written.Store(written + uint64(n))
		records = records[n:]
	}
	return nil
}

// Close does nothing: what was kept can still be asked for.
func (h *Recent) Close() error { return nil }

// Free gives the memory back, once those that are reading have let go of it.
// Nothing may be written after it, and nothing is found.
func (h *Recent) Free() error {
	for i := range h.places {
		h.places[i].Store(0)
	}
	for range readers {
		h.reading <- struct{}{}
	}
	blocks := h.blocks
	h.blocks = nil
	for range readers {
		<-h.reading
	}
	return flowtable.Release(blocks)
}

// Len is how many records are kept now.
func (h *Recent) Len() int { return int(min(h.written.Load(), h.capacity)) }

// Cap is how many records are kept at most.
func (h *Recent) Cap() int { return int(h.capacity) }

// Memory is what is reserved, in octets.
func (h *Recent) Memory() uint64 { return uint64(len(h.blocks)) * uint64(blockSize) }

// Span implements History.
func (h *Recent) Span() Span {
	for {
		end := h.written.Load()
		s := Span{ID: h.id, First: h.first(end), End: end, FromAt: h.began, NewestAt: h.newest.Load()}
		if s.First == 0 || h.read(s.First, func(b *Block, row int) { s.FromAt = b.PublishedAt[row] }) {
			return s
		}
		if h.written.Load() == end { // nothing took its place: the memory is gone
			return s
		}
	}
}

// Seek implements History.
func (h *Recent) Seek(_ context.Context, published int64) (uint64, error) {
	end := h.written.Load()
	first := h.first(end)
	n := sort.Search(int(end-first), func(i int) bool {
		later := false // what was overwritten meanwhile is older than all
		h.read(first+uint64(i), func(b *Block, row int) { later = b.PublishedAt[row] >= published })
		return later
	})
	return first + uint64(n), nil
}

// Scan implements History.
func (h *Recent) Scan(ctx context.Context, r Range, yield func(Run) bool) (overwritten uint64, err error) {
	written := h.written.Load()
	end := min(r.End, written)
	if first := h.first(written); r.First < first {
		overwritten = min(first, max(end, r.First)) - r.First
		r.First += overwritten
	}
	for r.First < end {
		if err := ctx.Err(); err != nil {
			return overwritten, err
		}
		next := Range{First: r.First, End: min(end, (r.First/Rows+1)*Rows)}
		if !r.Ascending {
			next = Range{First: max(r.First, (end-1)/Rows*Rows), End: end}
		}
		more, kept := h.show(next, written, yield)
		switch {
		case !kept && !r.Ascending: // and so is all that is older
			return overwritten + end - r.First, nil
		case !kept:
			overwritten += next.End - next.First
		case !more:
			return overwritten, nil
		}
		if r.Ascending {
			r.First = next.End
		} else {
			end = next.First
		}
	}
	return overwritten, nil
}

// show yields positions of one block, when so many were written at least; kept is
// false where it was overwritten.
func (h *Recent) show(r Range, written uint64, yield func(Run) bool) (more, kept bool) {
	number := r.First / Rows
	block, release := h.hold(number)
	if block == nil {
		return true, false
	}
	defer release()
	position := number * Rows
	run := Run{Block: block, From: int(r.First - position), To: int(r.End - position), Position: position, Names: h.names}
	if position+Rows <= written {
		run.Summary = &block.summary
	}
	return yield(run), true
}

// read calls look with the row of one position; it is false where that was
// overwritten.
func (h *Recent) read(position uint64, look func(b *Block, row int)) bool {
	block, release := h.hold(position / Rows)
	if block == nil {
		return false
	}
	defer release()
	look(block, int(position%Rows))
	return true
}

// first is the position of the oldest record kept when so many were written.
func (h *Recent) first(written uint64) uint64 { return written - min(written, h.capacity) }

func (h *Recent) place(number uint64) int { return int(number % uint64(len(h.places))) }

// hold returns the block of a number, nil where it was overwritten. Its rows
// stay until release is called.
func (h *Recent) hold(number uint64) (block *Block, release func()) {
	h.reading <- struct{}{}
	if i := int(h.places[h.place(number)].Load()) - 1; i >= 0 {
		holding := &h.holds[i]
		holding.readers.Add(1)
		// From here on the writer leaves the block alone, if it is still
		// that one: take looks at readers after it has taken number away.
		if holding.number.Load() == number+1 {
			return &h.blocks[i], func() { holding.readers.Add(-1); <-h.reading }
		}
		holding.readers.Add(-1)
	}
	<-h.reading
	return nil, nil
}

// take puts a block that nobody holds in the place of a number, whose last
// block becomes free.
func (h *Recent) take(number uint64) {
	place := &h.places[h.place(number)]
	if last := place.Load(); last > 0 {
		h.holds[last-1].number.Store(0)
	}
	for i := 0; ; i = (i + 1) % len(h.holds) { // readers have fewer than there are free
		if h.holds[i].number.Load() == 0 && h.holds[i].readers.Load() == 0 {
			h.holds[i].number.Store(number + 1)
			place.Store(uint32(i + 1))
			return
		}
	}
}
