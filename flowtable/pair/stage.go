// Package pair finds, on a gateway, the two records of each connection that
// passed through the box: one of the interface where it came in, one of the
// interface where it left. It stands between the publisher and the sinks.
//
// # Terms
//
// A peer is the record of the same connection on the other side of the box. The
// box may rewrite the tuple between the two (NAT); a Translator, the kernel's
// connection tracking, knows how. A record waits until its peer is finished too;
// then both go on, each with what the other tells: see flowtable.Peer. What has
// waited in vain goes on alone, and is counted by reason.
//
// # How they find each other
//
// By tuple, where the box leaves it alone: the same one on another interface. By
// translation, where the Translator knows the tuple of the other side. In both
// cases the client's initial sequence number must be the same, as far as both
// saw it: a tuple may be used again before a record of its last use has gone.
// Otherwise by sequence numbers: NAT leaves the two initial sequence numbers as they
// are, and together they are 64 bits that nobody else has, if the one record that has
// them too is of the same time. With a Translator that is the last resort, of a record
// that has waited in vain; without one it is what there is, and done at once where the
// two have one end in common, as they do where NAT rewrites the other one.
//
// # Ownership
//
// A Stage belongs to one goroutine, the publisher's. Stats may be read from any.
// Its memory is reserved when it is made, and it does not allocate afterwards. The
// package does no I/O and knows no time but that which it is told, on the clock
// of the records.
package pair

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// outBatch is how many records are handed on at once.
const outBatch = 256

// Translator knows which tuples the box rewrites. It is asked from the
// publisher's goroutine.
type Translator interface {
	// Other returns a connection's tuple on the other side of the box, with the
	// same client and server; false where the box is not known to rewrite it.
	Other(segment.Tuple) (segment.Tuple, bool)
}

// Config is how a stage is made.
type Config struct {
	// Wait is how long a record waits for its peer.
	Wait time.Duration
	// Room is how many records can wait at once. Where there is none, the one
	// that has waited longest goes on alone.
	Room int
	// Translator may be nil.
	Translator Translator
	// Lone tells of a connection that has no other side: it does not wait, unless
	// the Translator knows it. nil where every record waits.
	Lone func(*flowtable.Record) bool
}

// Stats counts what became of the records. The stage writes, anyone may read.
type Stats struct {
	ByTuple       atomic.Uint64 // pairs found by tuple
	ByTranslation atomic.Uint64 // … by the Translator
	BySequence    atomic.Uint64 // … by initial sequence numbers
	Lone          atomic.Uint64 // records that had no other side to wait for
	InVain        atomic.Uint64 // … that went on alone after Config.Wait
	NoRoom        atomic.Uint64 // … before that, to make room
	AtEnd         atomic.Uint64 // … because the stage was closed
	Waiting       atomic.Int64  // … that wait now
}

// Stage holds records until their peers come.
type Stage struct {
	config  Config
	next    func([]flowtable.Record)
	waiting room
	out     []flowtable.Record
	stats   Stats
}

// New makes a stage whose records go on to next; they are next's until it
// returns.
func New(c Config, next func([]flowtable.Record)) (*Stage, error) {
	switch {
	case c.Wait <= 0:
		return nil, fmt.Errorf("wait for the other side's record %v: a duration above 0 is needed", c.Wait)
	case c.Room < 1 || c.Room > maxRoom:
		return nil, fmt.Errorf("room for %d waiting records: choose 1 to %d", c.Room, maxRoom)
	case next == nil:
		return nil, errors.New("a stage for pairs needs somewhere for its records to go")
	}
	return &Stage{config: c, next: next, waiting: newRoom(c.Room), out: make([]flowtable.Record, 0, outBatch)}, nil
}

// Stats are the stage's counters.
func (s *Stage) Stats() *Stats { return &s.stats }

// Write takes finished records, at the time now in ns. They are the caller's
// again afterwards.
func (s *Stage) Write(records []flowtable.Record, now int64) {
	for i := range records {
		s.take(&records[i], now)
	}
	s.Advance(now)
}

// Advance lets go of what has waited long enough by now. It is to be called
// every now and then, also when no records come.
func (s *Stage) Advance(now int64) {
	for slot := s.waiting.oldest; slot != 0 && s.waiting.at(slot).since+int64(s.config.Wait) <= now; slot = s.waiting.oldest {
		s.release(slot, &s.stats.InVain)
	}
	s.flush()
}

// Close hands on all that waits. Nothing is called after it.
func (s *Stage) Close() {
	for s.waiting.oldest != 0 {
		s.release(s.waiting.oldest, &s.stats.AtEnd)
	}
	s.flush()
}

// take pairs a record with one that waits for it, or lets it wait.
func (s *Stage) take(r *flowtable.Record, now int64) {
	tuple := tupleOf(r)
	other, translated := s.translate(&tuple)
	peer, by := s.waiting.ofTuple(r, &tuple, false), &s.stats.ByTuple
	if translated {
		peer, by = s.waiting.ofTuple(r, &other, true), &s.stats.ByTranslation
	}
	if peer.slot == 0 && s.config.Translator == nil {
		peer.slot, by = s.waiting.ofSequence(r, sharesEnd), &s.stats.BySequence
	}
	switch {
	case peer.slot != 0:
		s.pair(peer, r, by)
	case !translated && s.config.Lone != nil && s.config.Lone(r):
		s.stats.Lone.Add(1)
		s.put(r)
	default:
		if s.waiting.full() {
			s.release(s.waiting.oldest, &s.stats.NoRoom)
		}
		s.waiting.add(r, &tuple, now)
		s.stats.Waiting.Store(int64(s.waiting.records))
	}
}

// release lets go of the record that has waited longest: with its peer, where a
// closer look finds that, or alone.
func (s *Stage) release(slot uint32, alone *atomic.Uint64) {
	r := s.remove(slot)
	tuple := tupleOf(r)
	other, translated := s.translate(&tuple)
	if translated { // the translation may have come late
		if peer := s.waiting.ofTuple(r, &other, true); peer.slot != 0 {
			s.pair(peer, r, &s.stats.ByTranslation)
			return
		}
	}
	if peer := s.waiting.ofTuple(r, &tuple, false); peer.slot != 0 {
		s.pair(peer, r, &s.stats.ByTuple)
		return
	}
	if slot := s.ofSequence(r, &tuple, &other, translated); slot != 0 {
		s.pair(candidate{slot: slot}, r, &s.stats.BySequence)
		return
	}
	if translated {
		translate(r, other)
	}
	alone.Add(1)
	s.put(r)
}

// ofSequence finds the one waiting record that has the initial sequence numbers of
// r. Where the Translator knows another tuple for one of the two, it must be the
// other's.
func (s *Stage) ofSequence(r *flowtable.Record, tuple, other *segment.Tuple, translated bool) uint32 {
	slot := s.waiting.ofSequence(r, anyEnds)
	if slot == 0 {
		return 0
	}
	theirs := tupleOf(&s.waiting.at(slot).record)
	back, known := s.translate(&theirs)
	if translated && *other == theirs || known && back == *tuple || !translated && !known {
		return slot
	}
	return 0
}

func (s *Stage) translate(t *segment.Tuple) (segment.Tuple, bool) {
	if s.config.Translator == nil {
		return segment.Tuple{}, false
	}
	return s.config.Translator.Other(*t)
}

// pair hands on a waiting record and the one that it waited for.
func (s *Stage) pair(peer candidate, r *flowtable.Record, by *atomic.Uint64) {
	if len(s.out)+2 > cap(s.out) {
		s.flush()
	}
	s.out = append(s.out, *s.remove(peer.slot), *r)
	n := len(s.out)
	join(&s.out[n-2], &s.out[n-1], peer.reversed)
	by.Add(1)
}

// remove takes a record out of the waiting ones; it stays valid until the next one
// is added.
func (s *Stage) remove(slot uint32) *flowtable.Record {
	s.waiting.remove(slot)
	s.stats.Waiting.Store(int64(s.waiting.records))
	return &s.waiting.at(slot).record
}

// put hands on a record alone.
func (s *Stage) put(r *flowtable.Record) {
	if len(s.out) == cap(s.out) {
		s.flush()
	}
	s.out = append(s.out, *r)
}

func (s *Stage) flush() {
	if len(s.out) > 0 {
		s.next(s.out)
		s.out = s.out[:0]
	}
}
