package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// reel is a source that a Replayer may read ahead, or not.
type reel struct {
	segments []segment.Segment
	ahead    bool
	most     int   // segments of one call, 0 for as many as there is room
	end      error // behind the last segment
	lent     [batchSize]segment.Segment
}

func (r *reel) ReadAhead() bool { return r.ahead }

func (r *reel) Fill(segments []segment.Segment, _ time.Duration) (int, error) {
	if len(r.segments) == 0 {
		return 0, r.end
	}
	room := len(segments)
	if r.most > 0 {
		room = min(room, r.most)
	}
	n := copy(segments[:room], r.segments)
	r.segments = r.segments[n:]
	return n, nil
}

func (r *reel) Receive(batch []*segment.Segment, wait time.Duration) (int, error) {
	n, err := r.Fill(r.lent[:], wait)
	for i := range n {
		batch[i] = &r.lent[i]
	}
	return n, err
}

// replayed is the records of captures, in the order in which they were
// delivered, without their serials.
func replayed(t *testing.T, sources ...*reel) ([]flowtable.Record, error) {
	t.Helper()
	hasher, records := segment.NewHasher(), NewReplayRecords()
	table, err := flowtable.New(flowtable.Config{MaxFlows: 1 << 14, Timeouts: flowtable.ReplayTimeouts(), Records: records}, hasher)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = table.Close() }()
	var all []flowtable.Record
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		records.Deliver(func(batch []flowtable.Record) { all = append(all, batch...) })
	}()
	r := NewReplayer(table, hasher)
	r.ahead = true
	r.WhenQuiet(records.Flush)
	for _, s := range sources {
		err = errors.Join(err, r.Run(context.Background(), s))
	}
	r.Close()
	records.Close()
	<-delivered
	return all, err
}

// film is n connections that overlap, from a time on.
func film(n int, start int64) []segment.Segment {
	var all []segment.Segment
	for i := range n {
		all = conversation(all, i, start+int64(i)*500)
	}
	slices.SortStableFunc(all, func(a, b segment.Segment) int { return int(a.At - b.At) })
	return all
}

// Reading ahead changes neither records nor their order, across sources and
// where a source begins before the last one ended.
func TestReadAheadChangesNothing(t *testing.T) {
	const connections = 3000
	whole := film(connections, 1e15)
	older := film(connections/3, 1e12)
	broken := errors.New("the disk is gone")
	var want []flowtable.Record
	for _, ahead := range []bool{false, true} {
		for _, most := range []int{0, 1, 7, 1000, 1024} {
			t.Run(fmt.Sprintf("ahead %v, %d at once", ahead, most), func(t *testing.T) {
				got, err := replayed(t,
					&reel{segments: whole[:10000], ahead: ahead, most: most, end: io.EOF},
					&reel{segments: whole[10000:], ahead: ahead, most: most, end: broken},
					&reel{ahead: ahead, end: io.EOF},
					&reel{segments: older, ahead: ahead, most: most, end: io.EOF})
				if !errors.Is(err, broken) || len(got) != connections+connections/3 {
					t.Fatalf("%d records and %v", len(got), err)
				}
				if want == nil {
					want = got
				}
				if !slices.Equal(got, want) {
					t.Error("other records than those of a replay without reading ahead")
				}
			})
		}
	}
}

// endless is a source that never ends.
type endless struct {
	reel
	calls int
}

func (e *endless) Fill(segments []segment.Segment, _ time.Duration) (int, error) {
	if e.calls++; e.calls%2 == 0 {
		return 0, nil
	}
	for i := range segments {
		segments[i] = segment.Segment{At: int64(e.calls), SrcPort: uint16(i), DstPort: 443, TCPFlags: segment.ACK}
	}
	return len(segments), nil
}

// A replay that is interrupted has left its source alone when Run returns.
func TestReadAheadInterrupted(t *testing.T) {
	hasher, ring := segment.NewHasher(), flowtable.NewRing(1<<12, false)
	table := newTable(t, hasher, ring, 1<<12)
	r := NewReplayer(table, hasher)
	r.ahead = true
	ctx, cancel := context.WithCancel(context.Background())
	quiet := 0
	r.WhenQuiet(func() {
		if quiet++; quiet == 3 {
			cancel()
		}
	})
	source := &endless{reel: reel{ahead: true}}
	if err := r.Run(ctx, source); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if source.calls == 0 { // a race, for the detector, if it were still read
		t.Error("the source was not read")
	}
}

// Records come in order, whole, and as soon as they are flushed; a table that
// finds no place waits.
func TestReplayRecords(t *testing.T) {
	const n = 10*recordBatch*recordBatches + 17
	r := NewReplayRecords()
	put := func(serial uint64) {
		r.Next().Serial = serial
		r.Commit()
	}
	got := make(chan uint64, n+1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Deliver(func(batch []flowtable.Record) {
			for _, one := range batch {
				got <- one.Serial
			}
		})
	}()
	put(0)
	r.Flush()
	r.Flush()
	if serial := <-got; serial != 0 {
		t.Fatalf("record %d came first", serial)
	}
	for i := range uint64(n) {
		put(i + 1)
	}
	r.Next().Serial = 1 << 40 // never committed
	r.Close()
	<-done
	close(got)
	next := uint64(1)
	for serial := range got {
		if serial != next {
			t.Fatalf("record %d in place of %d", serial, next)
		}
		next++
	}
	if next != n+1 {
		t.Errorf("%d records of %d", next-1, n)
	}
}

func TestReplayRecordsAllocateNothing(t *testing.T) {
	r := NewReplayRecords()
	go r.Deliver(func([]flowtable.Record) {})
	defer r.Close()
	if n := testing.AllocsPerRun(10000, func() {
		r.Next().Serial++
		r.Commit()
	}); n != 0 {
		t.Errorf("%v allocations per record", n)
	}
}
