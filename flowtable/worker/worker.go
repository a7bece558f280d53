// Package worker runs flow tables: one worker per receive queue, pinned to a
// CPU, takes segments from its source, brings each to the table that owns its
// connection, and leaves finished records in a ring to the publisher.
//
// # Terms
//
// A team is all workers of one appliance. A connection is owned by the worker
// to which the keyed hash of its tuple falls; a segment that arrived
// elsewhere is handed over through a ring that has one writer and one reader.
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
	"runtime"
	"sync/atomic"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

const (
	batchSize = 64
	// idleWait is how long a worker sleeps when nothing comes. Timers are
	// looked at once per turn.
	idleWait = 10 * time.Millisecond
	// lossInterval is how often a source is asked what it lost.
	lossInterval = int64(100 * time.Millisecond)
	// drainLimit bounds what is still taken from a source at the end, so
	// that traffic cannot keep a worker from stopping.
	drainLimit = 1 << 16
)

// waker is a source whose Receive can be cut short from another goroutine.
type waker interface{ Wake() }

// loser is a source that knows how many segments it lost so far.
type loser interface{ Lost() (uint64, error) }

// Stats counts what a worker did. The worker writes, anyone may read.
type Stats struct {
	Received     atomic.Uint64 // segments from the source
	HandedOver   atomic.Uint64 // of these, given to other workers
	HandoverLost atomic.Uint64 // of these, lost because the ring was full
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
	workers []*Worker
	lossAt  atomic.Int64
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

// Workers lists the team.
func (t *Team) Workers() []*Worker { return t.workers }

// owner returns the worker to which a hash falls. It takes bits that the
// table's index does not.
func (t *Team) owner(hash uint64) int {
	return int((hash >> 24 & 0xffffffff) * uint64(len(t.workers)) >> 32)
}

// Worker follows the connections that fall to it.
type Worker struct {
	team     *Team
	id       int
	member   Member
	inbox    []*handover // by sender; nil for itself
	sleeping atomic.Bool
	wake     func()
	lost     func() (uint64, error)
	stats    Stats

	nextLossCheck int64
	lossSeen      int64
	batch         [batchSize]*segment.Segment
	own           [batchSize]*segment.Segment
	hashes        [batchSize]uint64
	handed        []bool // by receiver, in this turn
}

func newWorker(team *Team, id, size int, m Member) *Worker {
	w := &Worker{team: team, id: id, member: m, inbox: make([]*handover, size), handed: make([]bool, size)}
	for i := range w.inbox {
		if i != id {
			w.inbox[i] = newHandover()
		}
	}
	if s, ok := m.Source.(waker); ok {
		w.wake = s.Wake
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
// once every worker of the team has handed over its last segments, and closes
// its ring. Every worker of a team must be run.
func (w *Worker) Run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := w.pin()
	for err == nil && ctx.Err() == nil {
		err = w.turn(idleWait)
	}
	for n := 0; err == nil && n < drainLimit; n += batchSize {
		before := w.stats.Received.Load()
		if err = w.turn(0); w.stats.Received.Load() == before {
			break
		}
	}
	w.team.dealing.Add(-1)
	for w.team.dealing.Load() > 0 {
		w.takeOver()
		time.Sleep(100 * time.Microsecond)
	}
	w.takeOver()
	w.member.Table.Flush(flowtable.EndShutdown)
	w.member.Ring.Close()
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("worker %d: %w", w.id, err)
}

// turn takes one batch from the source and everything from the inbox, and
// tells the table the time.
func (w *Worker) turn(wait time.Duration) error {
	n, err := w.member.Source.Receive(w.batch[:], w.rest(wait))
	w.sleeping.Store(false)
	if n > 0 {
		w.deal(w.batch[:n])
	}
	w.takeOver()
	now := w.team.clock()
	w.watchLoss(now)
	w.member.Table.Advance(now)
	return err
}

// rest is how long the worker may sleep in its source. A sender that finds it
// asleep wakes it; one that came before is seen here.
func (w *Worker) rest(wait time.Duration) time.Duration {
	if wait == 0 || len(w.inbox) == 1 {
		return wait
	}
	if w.wake == nil {
		wait = min(wait, time.Millisecond)
	}
	w.sleeping.Store(true)
	for _, h := range w.inbox {
		if h != nil && !h.empty() {
			return 0
		}
	}
	return wait
}

// deal brings own segments to the table and hands the others over.
func (w *Worker) deal(batch []*segment.Segment) {
	w.stats.Received.Add(uint64(len(batch)))
	own := 0
	for _, s := range batch {
		key, _ := segment.KeyOf(s)
		hash := w.team.hasher.Hash(&key)
		if to := w.team.owner(hash); to != w.id {
			w.handOver(to, s, hash)
			continue
		}
		w.own[own], w.hashes[own] = s, hash
		own++
	}
	w.member.Table.Update(w.own[:own], w.hashes[:own])
	for to, handed := range w.handed {
		if handed {
			w.handed[to] = false
			if other := w.team.workers[to]; other.sleeping.Load() && other.wake != nil {
				other.wake()
			}
		}
	}
}

func (w *Worker) handOver(to int, s *segment.Segment, hash uint64) {
	w.stats.HandedOver.Add(1)
	if !w.team.workers[to].inbox[w.id].push(s, hash) {
		w.stats.HandoverLost.Add(1)
		w.team.lossAt.Store(w.team.clock())
		return
	}
	w.handed[to] = true
}

// takeOver follows the segments that others received.
func (w *Worker) takeOver() {
	for _, h := range w.inbox {
		if h == nil {
			continue
		}
		for n := 0; n < handoverSize; {
			segments, hashes := h.peek()
			if len(segments) == 0 {
				break
			}
			k := min(len(segments), batchSize)
			for i := range k {
				w.own[i] = &segments[i]
			}
			w.member.Table.Update(w.own[:k], hashes[:k])
			h.release(k)
			w.stats.TakenOver.Add(uint64(k))
			n += k
		}
	}
}

// watchLoss marks what may have missed a segment. A segment that any source
// lost may have belonged to any table.
func (w *Worker) watchLoss(now int64) {
	if w.lost != nil && now >= w.nextLossCheck {
		w.nextLossCheck = now + lossInterval
		if lost, err := w.lost(); err == nil && lost > w.stats.Lost.Load() {
			w.stats.Lost.Store(lost)
			w.team.lossAt.Store(now)
		}
	}
	if at := w.team.lossAt.Load(); at > w.lossSeen {
		w.lossSeen = at
		w.member.Table.Lost(at)
	}
}
