package worker

import (
	"context"

	"github.com/finwait/finwait/flowtable/segment"
)

const (
	// loadSize is how many segments are handed from the reading to the
	// following goroutine at once: enough that waking one another costs
	// nothing, few enough that all loads stay in the processor's cache.
	loadSize = 1024
	// loadsAhead is how many loads there are; one is filled, one is followed,
	// and the others even out the two.
	loadsAhead = 4
)

// load is segments on their way from the goroutine that reads a source to the
// one that has the table. It belongs to whoever took it from a channel last.
type load struct {
	segments [loadSize]segment.Segment
	batch    [loadSize]*segment.Segment // of segments, in order
	keys     [loadSize]segment.Key
	sides    [loadSize]uint8
	hashes   [loadSize]uint64
	n        int
	err      error // the source's; no load comes after it
}

func newLoad() *load {
	l := &load{}
	for i := range l.batch {
		l.batch[i] = &l.segments[i]
	}
	return l
}

// runAhead is Run with reading, decoding and hashing in a goroutine of its
// own, which has ended when it returns.
func (r *Replayer) runAhead(ctx context.Context, source Filler) error {
	for len(r.loads) < loadsAhead {
		r.loads = append(r.loads, newLoad())
	}
	empty, full := make(chan *load, loadsAhead), make(chan *load, loadsAhead)
	for _, l := range r.loads {
		empty <- l
	}
	go func() {
		defer close(full)
		r.read(ctx, source, empty, full)
	}()
	var err error
	first := true
	for l := range full {
		if ctx.Err() == nil {
			r.follow(l.batch[:l.n], l.hashes[:l.n], &first)
		}
		if l.n < loadSize {
			r.quiet()
		}
		err = l.err
		empty <- l
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ended(err)
}

// read fills loads until the source ends or ctx does.
func (r *Replayer) read(ctx context.Context, source Filler, empty <-chan *load, full chan<- *load) {
	for ctx.Err() == nil {
		l := <-empty
		l.n, l.err = source.Fill(l.segments[:], sourceWait)
		segment.Keys(l.batch[:l.n], l.keys[:l.n], l.sides[:l.n])
		r.hasher.Hashes(l.keys[:l.n], l.hashes[:l.n])
		full <- l
		if l.err != nil {
			return
		}
	}
}
