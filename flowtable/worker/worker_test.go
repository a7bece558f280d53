package worker

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// script is a source that delivers prepared segments from one reused buffer,
// as a socket does, and then ends.
type script struct {
	segments []segment.Segment
	lent     [batchSize]segment.Segment
	lost     uint64
	next     atomic.Int64 // time of the next segment
	others   []*script
}

// abreast is how far, in ns, a script runs ahead of the others: as far as
// queues of one machine do, not as far as would fill the rings.
const abreast = 1000

func newScript(segments []segment.Segment) *script {
	s := &script{segments: segments}
	s.look()
	return s
}

func (s *script) look() {
	if len(s.segments) > 0 {
		s.next.Store(s.segments[0].At)
	} else {
		s.next.Store(math.MaxInt64 / 2)
	}
}

func (s *script) Receive(batch []*segment.Segment, _ time.Duration) (int, error) {
	if len(s.segments) == 0 {
		return 0, io.EOF
	}
	now := clockOf(s.others)() - settling
	n := 0
	for most := 1 + len(s.segments)%len(batch); n < min(most, len(s.segments)) && s.segments[n].At <= now+abreast; n++ {
		s.lent[n] = s.segments[n]
	}
	for i := range n {
		batch[i] = &s.lent[i]
	}
	s.segments = s.segments[n:]
	s.look()
	return n, nil
}

func (s *script) Lost() (uint64, error) { return s.lost, nil }

// clockOf is the clock of a world in which everything up to now has arrived:
// now is short of the earliest segment that has not.
func clockOf(scripts []*script) func() int64 {
	return func() int64 {
		now := int64(math.MaxInt64 / 2)
		for _, s := range scripts {
			now = min(now, s.next.Load())
		}
		return now - 1 + settling
	}
}

// conversation appends an orderly connection: handshake, data, four waves.
func conversation(to []segment.Segment, n int, start int64) []segment.Segment {
	client, server := [16]byte{10: 0xff, 11: 0xff, 12: 10, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}, [16]byte{10: 0xff, 11: 0xff, 12: 192, 15: 1}
	at := start
	add := func(fromClient bool, flags uint8, seq, ack, payload uint32) {
		s := segment.Segment{At: at, Src: client, Dst: server, SrcPort: 40000, DstPort: 443, Seq: seq, Ack: ack,
			Octets: 40 + payload, Payload: payload, TCPFlags: flags}
		if !fromClient {
			s.Src, s.Dst, s.SrcPort, s.DstPort = server, client, 443, 40000
		}
		to = append(to, s)
		at += 1000
	}
	const c, s = 1000, 5000
	add(true, segment.SYN, c, 0, 0)
	add(false, segment.SYN|segment.ACK, s, c+1, 0)
	add(true, segment.ACK, c+1, s+1, 0)
	add(true, segment.ACK|segment.PSH, c+1, s+1, 100)
	add(false, segment.ACK|segment.PSH, s+1, c+101, 200)
	add(true, segment.ACK|segment.FIN, c+101, s+201, 0)
	add(false, segment.ACK, s+201, c+102, 0)
	add(false, segment.ACK|segment.FIN, s+201, c+102, 0)
	add(true, segment.ACK, c+102, s+202, 0)
	return to
}

func newTable(t testing.TB, h segment.Hasher, ring *flowtable.Ring, flows uint32) *flowtable.Table {
	t.Helper()
	table, err := flowtable.New(flowtable.Config{MaxFlows: flows, Timeouts: flowtable.LiveTimeouts(), Records: ring}, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return table
}

// run lets a team follow scripts to their ends and returns all records, in an
// order of their own.
func run(t *testing.T, scripts ...*script) ([]flowtable.Record, *Team) {
	t.Helper()
	return runAs(t, func(*Team) {}, scripts...)
}

// runAs is run with a team that is set up before.
func runAs(t *testing.T, setUp func(*Team), scripts ...*script) ([]flowtable.Record, *Team) {
	t.Helper()
	h := segment.NewHasher()
	var (
		members []Member
		rings   []*flowtable.Ring
	)
	for _, s := range scripts {
		ring := flowtable.NewRing(1<<12, true)
		members = append(members, Member{Source: s, Table: newTable(t, h, ring, 1<<13), Ring: ring, CPU: -1})
		rings = append(rings, ring)
	}
	for _, s := range scripts {
		s.others = scripts
	}
	team, err := NewTeam(members, h, clockOf(scripts))
	if err != nil {
		t.Fatal(err)
	}
	setUp(team)
	var wait sync.WaitGroup
	for _, w := range team.Workers() {
		wait.Go(func() {
			if err := w.Run(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	var records []flowtable.Record
	Publish(rings, func(r []flowtable.Record) { records = append(records, r...) }, nil)
	wait.Wait()
	for i := range records {
		records[i].Serial = 0
	}
	slices.SortFunc(records, func(a, b flowtable.Record) int {
		return cmp.Or(slices.Compare(a.Client.Address[:], b.Client.Address[:]), cmp.Compare(a.StartAt, b.StartAt))
	})
	return records, team
}

// Both directions of a connection arrive on queues of their own, and on
// others than their owner's, and workers run in any order: the records are
// those of a single worker, in every field.
func TestTeamEqualsSingleWorker(t *testing.T) {
	const connections = 2000
	whole := crowd(connections)
	queues := make([][]segment.Segment, 3)
	for _, s := range whole {
		queue := (int(s.Src[15]) + int(s.Dst[15]) + int(s.SrcPort)) % len(queues)
		queues[queue] = append(queues[queue], s)
	}
	want, _ := run(t, newScript(slices.Clone(whole)))
	got, team := run(t, newScript(queues[0]), newScript(queues[1]), newScript(queues[2]))
	var handed, taken, lost uint64
	for _, w := range team.Workers() {
		handed += w.Stats().HandedOver.Load()
		taken += w.Stats().TakenOver.Load()
		lost += w.Stats().HandoverLost.Load()
	}
	if handed == 0 || handed != taken || lost != 0 {
		t.Errorf("%d segments handed over, %d taken, %d lost", handed, taken, lost)
	}
	compareRecords(t, got, want, 2*connections)
}

// Where all segments of a connection arrive on one queue, nothing is handed over,
// whichever it is, and the records are those of a single worker as well.
func TestWholeTeamEqualsSingleWorker(t *testing.T) {
	const connections = 2000
	whole := crowd(connections)
	queues := make([][]segment.Segment, 3)
	for _, s := range whole {
		queue := (int(s.Src[15]) ^ int(s.Dst[15])) % len(queues)
		queues[queue] = append(queues[queue], s)
	}
	want, _ := run(t, newScript(slices.Clone(whole)))
	got, team := runAs(t, (*Team).Whole, newScript(queues[0]), newScript(queues[1]), newScript(queues[2]))
	for i, w := range team.Workers() {
		if s := w.Stats(); s.HandedOver.Load() != 0 || s.TakenOver.Load() != 0 || w.Table().Stats().Records.Load() == 0 {
			t.Errorf("worker %d: %d segments handed over, %d taken, %d records", i, s.HandedOver.Load(), s.TakenOver.Load(), w.Table().Stats().Records.Load())
		}
	}
	compareRecords(t, got, want, 2*connections)
}

// crowd is so many conversations at once, each followed by another of its tuple.
func crowd(connections int) (whole []segment.Segment) {
	for n := range connections {
		whole = append(whole, conversation(nil, n, int64(n)*10)...)
		// The tuple is taken again at once, its SYN on another queue than
		// its SYN-ACK.
		again := conversation(nil, n, int64(n)*10+9500)
		for i := range again {
			again[i].Seq += 1 << 20
			again[i].Ack += 1 << 20
		}
		whole = append(whole, again...)
	}
	slices.SortStableFunc(whole, func(a, b segment.Segment) int { return cmp.Compare(a.At, b.At) })
	for i := range whole {
		whole[i].At += int64(i) // no two at once: their order would be anybody's guess
	}
	return whole
}

func compareRecords(t *testing.T, got, want []flowtable.Record, connections int) {
	t.Helper()
	if len(want) != connections || len(got) != len(want) {
		t.Fatalf("%d and %d records of %d connections", len(want), len(got), connections)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("record %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

// A ring that fills up is not kept waiting for the horizon.
func TestCrowdedRingDoesNotWait(t *testing.T) {
	h := segment.NewHasher()
	ring := flowtable.NewRing(64, false)
	team, err := NewTeam([]Member{
		{Source: newScript(nil), Table: newTable(t, h, ring, 16), Ring: ring, CPU: -1},
		{Source: newScript(nil), Table: newTable(t, h, ring, 16), Ring: ring, CPU: -1},
	}, h, func() int64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	w := team.Workers()[0]
	full := handoverSize(2)
	for i := range full/4*3 + 1 {
		w.merge(0)
		if w.stats.TakenOver.Load() != 0 {
			t.Fatalf("segments beyond the horizon were followed with %d in the ring", i)
		}
		w.inbox[1].push(&segment.Segment{At: int64(i) + 1}, 7)
	}
	w.merge(0)
	if n := w.stats.TakenOver.Load(); n != uint64(full/4*3+1) {
		t.Errorf("%d segments taken from a crowded ring", n)
	}
}

// A source that lost segments makes the records of what was open lossy.
func TestLossIsEvidence(t *testing.T) {
	s := newScript(conversation(nil, 1, 10))
	s.lost = 3
	records, team := run(t, s)
	if len(records) != 1 || records[0].Evidence != flowtable.Lossy {
		t.Fatalf("%d records, evidence %v", len(records), records[0].Evidence)
	}
	if n := team.Workers()[0].Stats().Lost.Load(); n != 3 {
		t.Errorf("%d lost segments in the ledger, the source says 3", n)
	}
}

// circle is a source without end: connections over and over, from memory laid
// out as a socket's.
type circle struct {
	segments []segment.Segment
	at       int
	now      int64
}

func (c *circle) Receive(batch []*segment.Segment, _ time.Duration) (int, error) {
	for i := range batch {
		s := &c.segments[c.at]
		c.now += 1000
		s.At = c.now
		if s.TCPFlags == segment.SYN {
			s.Seq += 1 << 20 // another connection on the tuple
		}
		batch[i] = s
		c.at = (c.at + 1) % len(c.segments)
	}
	return len(batch), nil
}

// From the segments of a source to the published record nothing allocates:
// connections open, close, linger, expire and are written.
func TestNoAllocation(t *testing.T) {
	c := &circle{}
	for n := range 500 {
		c.segments = conversation(c.segments, n, 0)
	}
	h := segment.NewHasher()
	ring := flowtable.NewRing(1<<12, false)
	table := newTable(t, h, ring, 1<<12)
	team, err := NewTeam([]Member{{Source: c, Table: table, Ring: ring, CPU: -1}, {Source: newScript(nil), Table: newTable(t, h, ring, 1<<12), Ring: ring, CPU: -1}},
		h, func() int64 { return c.now })
	if err != nil {
		t.Fatal(err)
	}
	w := team.Workers()[0]
	published := 0
	turn := func() {
		for range 100 {
			if err := w.turn(0); err != nil {
				t.Fatal(err)
			}
			if err := team.Workers()[1].turn(0); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			records, _ := ring.Read()
			published += len(records)
			ring.Release(len(records))
		}
	}
	turn()
	if n := testing.AllocsPerRun(20, turn); n != 0 {
		t.Errorf("%v allocations per 6400 segments", n)
	}
	if published < 5000 || w.Stats().HandedOver.Load() == 0 {
		t.Errorf("%d records published, %d segments handed over: the path was not walked", published, w.Stats().HandedOver.Load())
	}
}

func TestHandoverRing(t *testing.T) {
	const size = 512
	h := newHandover(size)
	const total = 200_000
	go func() {
		for i := uint64(0); i < total; {
			if h.push(&segment.Segment{Seq: uint32(i)}, i) {
				i++
			} else {
				time.Sleep(time.Microsecond)
			}
		}
	}()
	for want := uint64(0); want < total; {
		segments, hashes := h.peek()
		n := len(segments)
		if n > 1 {
			n = 1 + rand.IntN(n)
		}
		for i := range n {
			if hashes[i] != want || segments[i].Seq != uint32(want) {
				t.Fatalf("segment %d came as %d", want, hashes[i])
			}
			want++
		}
		h.release(n)
	}
	for h.push(&segment.Segment{}, 0) {
	}
	if segments, _ := h.peek(); len(segments) == 0 || h.tail.Load()-h.head.Load() != size {
		t.Error("a full ring does not hold what it says")
	}
}

func TestHandoverMemory(t *testing.T) {
	for workers, want := range map[int]int{1: maxHandover, 2: maxHandover, 8: maxHandover, 16: 1024, 64: minHandover} {
		if got := handoverSize(workers); got != want {
			t.Errorf("%d workers: rings of %d segments, want %d", workers, got, want)
		}
	}
}

func TestReplayerKeepsConnectionsOverFiles(t *testing.T) {
	h := segment.NewHasher()
	ring := flowtable.NewRing(64, false)
	table, err := flowtable.New(flowtable.Config{MaxFlows: 64, Timeouts: flowtable.ReplayTimeouts(), Records: ring}, h)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = table.Close() }()
	one := conversation(nil, 1, 1e12)
	r := NewReplayer(table, h)
	for _, part := range [][]segment.Segment{one[:4], one[4:], conversation(nil, 1, 5)} {
		if err := r.Run(context.Background(), newScript(part)); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	records, _ := ring.Read()
	if len(records) != 2 {
		t.Fatalf("%d records of a connection in two files and of an older capture", len(records))
	}
	if r := &records[0]; r.Client.Packets != 5 || r.CloseKind != flowtable.FourWay || r.EndReason != flowtable.EndClosed {
		t.Errorf("first record: %+v", r)
	}
	if r := &records[1]; r.StartAt != 5 || r.Reused {
		t.Errorf("a capture that begins before the last one ended: %+v", r)
	}
}
