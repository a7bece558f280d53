// Package worker runs flow tables: one worker per receive queue, pinned to a
// CPU, takes segments from its source, brings each to the table that owns its
// connection, and leaves finished records in a ring to the publisher.
//
// # Terms
//
// A team is all workers of one appliance. A connection is owned by the worker
// to which the keyed hash of its tuple falls, or by whose source it comes where each
// has all of its connections' segments. Otherwise, in a team of several, every
// segment goes to its owner through a ring that has one writer and one reader,
// and the owner follows them in the order of their times: a worker's horizon
// is the time up to which it has dealt out all that arrived at its queue, and
// nobody goes beyond the nearest horizon. So the order in which workers get to
// run is not taken for the order on the wire.
//
// # Ownership
//
// A Worker's Run is one goroutine, locked to its thread; source, table and
// the reading ends of its hand-over rings are its own. Stats may be read from
// anywhere. Nothing on the way from the source to the ring of records
// allocates, locks, or makes a system call for each segment.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

const (
	batchSize = 64
	// idleWait is how long a worker waits for its source when nothing comes. Timers
	// are looked at once per turn.
	idleWait = 50 * time.Millisecond
	// teamWait is the same where the others wait for its horizon:
	// below the time in which a hand-over ring fills, and not so short that
	// waking up for nothing costs more than the work. They do not after teamQuiet without
	// a segment of any of them.
	teamWait  = 5 * time.Millisecond
	teamQuiet = int64(100 * time.Millisecond)
	// settling is how long a segment may take from its time stamp in the
	// kernel program to the socket's ring: the kernel fills the ring when it
	// has been through a batch of frames, and a hypervisor may take the CPU
	// away meanwhile.
	settling = int64(4 * time.Millisecond)
	// lossInterval is how often a source is asked what it lost, and restingLossInterval
	// where nothing came since it was asked last: nothing is lost where nothing comes.
	lossInterval        = int64(100 * time.Millisecond)
	restingLossInterval = 5 * lossInterval
	// drainLimit bounds what is still taken from a source at the end, so
	// that traffic cannot keep a worker from stopping.
	drainLimit = 1 << 16
)

// loser is a source that knows how many segments it lost so far.
type loser interface{ Lost() (uint64, error) }

// Stats counts what a worker did. The worker writes, anyone may read.
type Stats struct {
	Polls        atomic.Uint64 // looks at the source
	Batches      atomic.Uint64 // of these, with segments
	Received     atomic.Uint64 // segments from the source
	HandedOver   atomic.Uint64 // of these, for other workers
	HandoverLost atomic.Uint64 // of those received, lost because a ring was full
	TakenOver    atomic.Uint64 // from other workers
	Lost         atomic.Uint64 // lost by the source before they came here
}

// Member is what one worker of a team is made of.
type Member struct {
	Source Source
	Table  *flowtable.Table
	Ring   *flowtable.Ring // that Table's Config.Records
	CPU    int             // to pin the worker to, below 0 for none
}

// Team is the workers of one appliance.
type Team struct {
	hasher  segment.Hasher
	clock   func() int64
	polling Polling
	workers []*Worker
	lossAt  atomic.Int64
	fullAt  atomic.Int64
	heardAt atomic.Int64 // when any of several last received segments, to a millisecond
	dealing atomic.Int32 // workers that may still hand segments over
}

// NewTeam makes a worker for each member. Tables must have been made with
// hasher; clock is the clock of the segments' times, in ns.
func NewTeam(members []Member, hasher segment.Hasher, clock func() int64) (*Team, error) {
	if len(members) == 0 {
		return nil, errors.New("a team needs a worker")
	}
	team := &Team{hasher: hasher, clock: clock}
	for i, m := range members {
		team.workers = append(team.workers, newWorker(team, i, len(members), m))
	}
	team.dealing.Store(int32(len(members)))
	return team, nil
}

// Poll says how workers wait for segments. It is called before any of them runs.
func (t *Team) Poll(p Polling) { t.polling = p }

// Whole says that each source has all segments of its connections, in their order: then
// none is handed over, and every worker owns what its source brings. It is called before
// any of them runs.
func (t *Team) Whole() {
	for _, w := range t.workers {
		w.inbox = nil
	}
}

// Uncounted notes that the kernel's flow table has had no room for some
// connections up to now. It may be called from any goroutine.
func (t *Team) Uncounted() { t.fullAt.Store(t.clock()) }

// Workers lists the team.
func (t *Team) Workers() []*Worker { return t.workers }

// owner returns the worker to which a hash falls. It takes bits that the
// table's index does not.
func (t *Team) owner(hash uint64) int {
	return int((hash >> 24 & 0xffffffff) * uint64(len(t.workers)) >> 32)
}

// Worker follows the connections that fall to it.
type Worker struct {
	team    *Team
	id      int
	member  Member
	node    int         // of its CPU, see nodeOf
	inbox   []*handover // by sender; none where nothing is handed over
	horizon atomic.Int64
	lost    func() (uint64, error)
	stats   Stats

	received      int   // in the last turn
	turnedAt      int64 // when that was
	heardAt       int64 // when the source last had something
	sinceNap      int   // segments since the last nap
	nap           time.Duration
	alarm         *alarm
	announcedAt   int64 // when the publisher was last told of records
	lossCheckedAt int64
	lossSeen      int64
	fullSeen      int64
	batch         [batchSize]*segment.Segment
	keys          [batchSize]segment.Key // of deal
	sides         [batchSize]uint8
	hashes        [batchSize]uint64
}

func newWorker(team *Team, id, size int, m Member) *Worker {
	w := &Worker{team: team, id: id, member: m, node: nodeOf(m.CPU)}
	w.horizon.Store(math.MinInt64)
	if size > 1 {
		w.inbox = make([]*handover, size)
		for i := range w.inbox {
			w.inbox[i] = newHandover(handoverSize(size))
		}
	}
	if s, ok := m.Source.(loser); ok {
		w.lost = s.Lost
	}
	return w
}

// Stats are the worker's counters.
func (w *Worker) Stats() *Stats { return &w.stats }

// Table is the worker's table.
func (w *Worker) Table() *flowtable.Table { return w.member.Table }

// CPU is the CPU the worker is pinned to, below 0 for none.
func (w *Worker) CPU() int { return w.member.CPU }

// Run works until ctx is done, the source ends, or it fails. Then it writes
// the records of all connections that are still open (end_reason shutdown),
// once every worker of the team has dealt out its last segments, and closes
// its ring. Every worker of a team must be run.
func (w *Worker) Run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer takePlace()()
	var err error
	if w.alarm, err = newAlarm(); err == nil {
		defer w.alarm.close()
		err = w.pin()
	}
	for err == nil && ctx.Err() == nil {
		err = w.turn(w.patience(w.wait()))
	}
	for n := 0; err == nil && n < drainLimit; n += batchSize {
		before := w.stats.Received.Load()
		if err = w.turn(0); w.stats.Received.Load() == before {
			break
		}
	}
	w.finish()
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("worker %d: %w", w.id, err)
}

// wait is how long the worker waits for its source where it has nothing to do.
func (w *Worker) wait() time.Duration {
	if len(w.inbox) > 0 && w.turnedAt-w.team.heardAt.Load() < teamQuiet {
		return teamWait
	}
	return idleWait
}

// finish waits for what the rest of the team still deals out, and writes
// everything out.
func (w *Worker) finish() {
	w.horizon.Store(math.MaxInt64)
	w.team.dealing.Add(-1)
	for w.team.dealing.Load() > 0 {
		w.merge(w.team.horizon())
		time.Sleep(100 * time.Microsecond)
	}
	w.merge(math.MaxInt64)
	w.member.Table.Flush(flowtable.EndShutdown)
	w.member.Ring.Close()
}

// turn takes one batch from the source, brings it to its owners, follows what
// is this worker's, and tells the table the time.
func (w *Worker) turn(wait time.Duration) error {
	before := w.team.clock()
	n, err := w.member.Source.Receive(w.batch[:], wait)
	w.stats.Polls.Add(1)
	now := w.team.clock()
	if n > 0 {
		w.stats.Batches.Add(1)
		w.stats.Received.Add(uint64(n))
		w.heardAt = now
	}
	w.received, w.turnedAt = n, now
	w.sinceNap += n
	w.watchLoss(now)
	if len(w.inbox) == 0 {
		w.member.Table.Update(w.batch[:n], nil)
		if n == len(w.batch) { // the next one has segments of before now
			now = min(now, w.batch[n-1].At)
		}
		w.member.Table.Advance(now)
		return err
	}
	if n > 0 && now-w.team.heardAt.Load() > int64(time.Millisecond) {
		w.team.heardAt.Store(now)
	}
	w.deal(n)
	if n == len(w.batch) {
		w.horizon.Store(max(w.horizon.Load(), w.batch[n-1].At))
	} else {
		w.horizon.Store(max(w.horizon.Load(), before-settling))
	}
	horizon := w.team.horizon()
	w.merge(horizon)
	if horizon != math.MinInt64 {
		w.member.Table.Advance(min(horizon, now))
	}
	return err
}

// deal brings the first n segments of the batch to the rings of their owners.
func (w *Worker) deal(n int) {
	segment.Keys(w.batch[:n], w.keys[:n], w.sides[:n])
	w.team.hasher.Hashes(w.keys[:n], w.hashes[:n])
	for i, s := range w.batch[:n] {
		hash := w.hashes[i]
		to := w.team.owner(hash)
		if to != w.id {
			w.stats.HandedOver.Add(1)
		}
		if !w.team.workers[to].inbox[w.id].push(s, hash) {
			w.stats.HandoverLost.Add(1)
			w.team.lossAt.Store(w.team.clock())
		}
	}
}

// horizon is the time up to which every worker has dealt out its segments.
func (t *Team) horizon() int64 {
	nearest := int64(math.MaxInt64)
	for _, w := range t.workers {
		nearest = min(nearest, w.horizon.Load())
	}
	return nearest
}

// merge follows the segments of all senders in the order of their times, up
// to the horizon. A ring that fills up is not kept waiting: the order is then
// that of what is there.
func (w *Worker) merge(horizon int64) {
	for _, h := range w.inbox {
		if h.crowded() {
			horizon = math.MaxInt64
		}
	}
	for {
		from, limit := w.earliest(horizon)
		if from < 0 {
			return
		}
		h := w.inbox[from]
		segments, hashes := h.peek()
		n := 0
		for n < len(segments) && n < batchSize && segments[n].At <= limit {
			w.batch[n] = &segments[n]
			n++
		}
		w.member.Table.Update(w.batch[:n], hashes[:n])
		h.release(n)
		if from != w.id {
			w.stats.TakenOver.Add(uint64(n))
		}
	}
}

// earliest returns the sender with the earliest segment within the horizon,
// below 0 for none, and up to which time its segments come before any other's.
func (w *Worker) earliest(horizon int64) (from int, limit int64) {
	from, first := -1, int64(math.MaxInt64)
	second := first
	for i, h := range w.inbox {
		segments, _ := h.peek()
		if len(segments) == 0 {
			continue
		}
		switch at := segments[0].At; {
		case at > horizon:
		case from < 0 || at < first:
			from, first, second = i, at, min(second, first)
		default:
			second = min(second, at)
		}
	}
	return from, min(horizon, second)
}

// lossCheckDue tells whether the source is to be asked what it lost.
func (w *Worker) lossCheckDue(now int64) bool {
	interval := lossInterval
	if w.heardAt <= w.lossCheckedAt {
		interval = restingLossInterval
	}
	return now-w.lossCheckedAt >= interval
}

// watchLoss marks what may have missed a segment. A segment that any source
// lost may have belonged to any table.
func (w *Worker) watchLoss(now int64) {
	if w.lost != nil && w.lossCheckDue(now) {
		w.lossCheckedAt = now
		if lost, err := w.lost(); err == nil && lost > w.stats.Lost.Load() {
			w.stats.Lost.Store(lost)
			w.team.lossAt.Store(now)
		}
	}
	if at := w.team.lossAt.Load(); at > w.lossSeen {
		w.lossSeen = at
		w.member.Table.Lost(at)
	}
	if at := w.team.fullAt.Load(); at > w.fullSeen {
		w.fullSeen = at
		w.member.Table.Uncounted(at)
	}
}
