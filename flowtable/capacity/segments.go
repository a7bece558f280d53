package capacity

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

const (
	// stride is how many segments are measured between two looks at the
	// context.
	stride = 1 << 18

	// warming is the part of a turn that comes once more before its clock
	// starts: a contender whose memory fits into the caches is to find it
	// there, and not that of the one before.
	warming = 4
)

// size is the contenders at one number of flows.
type size struct {
	*Result
	table                          *table
	flows                          goMap
	limit                          *limit
	onTable, onMap, onNothing      *traffic
	followedByTable, followedByMap uint64 // data segments
}

// measureSegments fills in what results have of the contenders.
func measureSegments(ctx context.Context, o *Options, p Progress, results []Result) (err error) {
	sizes := make([]*size, len(results))
	for i := range results {
		sizes[i] = &size{Result: &results[i]}
	}
	defer func() {
		for _, s := range sizes {
			err = errors.Join(err, s.close())
		}
	}()
	if err := fill(ctx, p, sizes); err != nil {
		return err
	}
	p.Stage("segments", int64(o.Rounds*len(turns)*len(sizes)))
	for range o.Rounds {
		for _, turn := range turns {
			for _, s := range sizes {
				if err := turn(s, ctx, o.Segments); err != nil {
					return err
				}
				p.Add(1)
			}
		}
	}
	for _, s := range sizes {
		if err := s.verify(); err != nil {
			return fmt.Errorf("%d flows: %w", s.Flows, err)
		}
	}
	return nil
}

// fill establishes all connections: first in all tables, so that the heap can
// be judged without a Go map in it.
func fill(ctx context.Context, p Progress, sizes []*size) (err error) {
	var flows int64
	for _, s := range sizes {
		flows += int64(s.Flows)
	}
	p.Stage("filling the tables", flows)
	for _, s := range sizes {
		s.onTable, s.onMap, s.onNothing = newTraffic(s.Flows), newTraffic(s.Flows), newTraffic(s.Flows)
		if s.table, err = newTable(s.Flows, flowtable.LiveTimeouts()); err != nil {
			return err
		}
		if err := s.establish(ctx, p, s.onTable, s.table.follow); err != nil {
			return err
		}
		s.TableOctets = s.table.octets()
		runtime.GC() // ends what was begun
		s.GC = collect()
		s.Heap = liveHeap()
	}
	if err := fillMaps(ctx, p, sizes, flows); err != nil {
		return err
	}
	for _, s := range sizes {
		if s.limit, err = newLimit(s.Flows); err != nil {
			return err
		}
	}
	return nil
}

// fillMaps fills the Go maps. Collections that would trace them again and again
// while they grow are put off until each is full.
func fillMaps(ctx context.Context, p Progress, sizes []*size, flows int64) error {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	p.Stage("filling the Go maps", flows)
	for _, s := range sizes {
		before := liveHeap()
		s.flows = make(goMap, s.Flows)
		if err := s.establish(ctx, p, s.onMap, s.flows.follow); err != nil {
			return err
		}
		s.GoMapGC = collect()
		s.GoMapOctets = (float64(liveHeap()) - float64(before)) / float64(s.Flows)
	}
	return nil
}

func (s *size) establish(ctx context.Context, p Progress, t *traffic, follow func([]*segment.Segment)) error {
	for first := uint32(0); first < s.Flows; {
		if err := ctx.Err(); err != nil {
			return err
		}
		begin, end := first, min(first+stride, s.Flows)
		for first < end {
			n := min(batchSize, end-first)
			t.handshakes(first, int(n), follow)
			first += n
		}
		p.Add(int64(end - begin))
	}
	return nil
}

// collect does a whole cycle of garbage collection and returns its ns.
func collect() float64 {
	start := time.Now()
	runtime.GC()
	return float64(time.Since(start))
}

// liveHeap is the octets that the last collection left.
func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// turns are those of a round, each at every size: what is compared with one another
// lies close together, and the Go map's, which take longest, behind all of it.
var turns = []func(s *size, ctx context.Context, segments int) error{(*size).followByTable, (*size).visitLimit, (*size).generate, (*size).followByMap}

func (s *size) followByTable(ctx context.Context, segments int) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ns, done, err := timed(ctx, segments, func(n int) int { return s.onTable.send(n, s.table.follow) })
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	s.followedByTable += uint64(done)
	s.Finwait = append(s.Finwait, ns)
	rounds := float64(len(s.Finwait))
	s.Allocations += (float64(after.Mallocs-before.Mallocs)/float64(done) - s.Allocations) / rounds
	s.AllocatedOctets += (float64(after.TotalAlloc-before.TotalAlloc)/float64(done) - s.AllocatedOctets) / rounds
	s.GCCycles += after.NumGC - before.NumGC
	return nil
}

func (s *size) visitLimit(ctx context.Context, segments int) error {
	ns, _, err := timed(ctx, segments, s.limit.visit)
	s.Limit = append(s.Limit, ns)
	return err
}

func (s *size) generate(ctx context.Context, segments int) error {
	ns, _, err := timed(ctx, segments, func(n int) int { return s.onNothing.send(n, ignore) })
	s.Generation = append(s.Generation, ns)
	return err
}

func (s *size) followByMap(ctx context.Context, segments int) error {
	ns, done, err := timed(ctx, segments, func(n int) int { return s.onMap.send(n, s.flows.follow) })
	s.followedByMap += uint64(done)
	s.GoMap = append(s.GoMap, ns)
	return err
}

func ignore([]*segment.Segment) {}

// send makes n data segments, or a few more, for follow, and returns how many.
func (t *traffic) send(n int, follow func([]*segment.Segment)) int {
	done := 0
	for done < n {
		batch := t.data()
		follow(batch)
		done += len(batch)
	}
	return done
}

// verify finds whether every contender did its work.
func (s *size) verify() error {
	err := s.table.verify(expected(uint64(s.Flows), s.followedByTable))
	err = errors.Join(err, expected(uint64(s.Flows), s.followedByMap).compare("the Go map", s.flows.sums()))
	return errors.Join(err, s.limit.verify())
}

func (s *size) close() (err error) {
	if s.table != nil {
		err = s.table.Close()
	}
	if s.limit != nil {
		err = errors.Join(err, s.limit.close())
	}
	s.table, s.flows, s.limit = nil, nil, nil
	return err
}
