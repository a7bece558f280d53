package flowtable

import "unsafe"

// tupleWays fill one cache line.
const tupleWays = 5

// tupleSet is one cache line of remembered tuples. A tuple is told by 39 bits of
// its hash beside those that chose the set, so that two are taken for one another
// about once in 10^11 look-ups.
type tupleSet struct {
	tags     [tupleWays]uint32 // the highest bit is set; 0 for a free place
	_        uint32
	closedAt [tupleWays]uint64 // tag 8 | 56
}

const tupleSetSize = 64

var _ [tupleSetSize]byte = [unsafe.Sizeof(tupleSet{})]byte{}

// tupleMemory keeps closed tuples after their records were written, for
// reuse_after_ns and to tell late segments from new connections. It is
// set-associative: the oldest of a set gives way.
type tupleMemory struct {
	sets []tupleSet
	keep int64 // ns after the close
}

// minTupleSets fill a page.
const minTupleSets = 64

// newTupleMemory has two places for each connection that is followed.
func newTupleMemory(capacity uint32, keep int64) (tupleMemory, error) {
	sets, err := Reserve[tupleSet](max(2*uint64(capacity)/tupleWays, minTupleSets))
	return tupleMemory{sets: sets, keep: keep}, err
}

// home is the number of a tuple's set.
func (m *tupleMemory) home(hash uint64) uint32 {
	return uint32(uint64(uint32(hash)) * uint64(len(m.sets)) >> 32)
}

func (m *tupleMemory) set(hash uint64) *tupleSet { return &m.sets[m.home(hash)] }

// place finds a tuple in its set, below 0 where it is not there.
func (s *tupleSet) place(hash uint64) int {
	tag := tupleTag(hash)
	for i := range s.tags {
		if s.tags[i] == tag && s.closedAt[i]>>56 == hash&0xff {
			return i
		}
	}
	return -1
}

func tupleTag(hash uint64) uint32 { return uint32(hash>>32) | 1<<31 }

// remember notes the close of a tuple. It tells whether another one had to be
// forgotten before its time.
func (m *tupleMemory) remember(hash uint64, closedAt, now int64) (forgot bool) {
	s, ref := m.set(hash), reference(now)
	at := s.place(hash)
	if at < 0 {
		at = 0
		for i := range s.tags {
			if s.tags[i] == 0 {
				at = i
				break
			}
			if ref.time(s.closedAt[i]) < ref.time(s.closedAt[at]) {
				at = i
			}
		}
		forgot = s.tags[at] != 0 && now-ref.time(s.closedAt[at]) <= m.keep
	}
	s.tags[at], s.closedAt[at] = tupleTag(hash), uint64(closedAt)&bits56|lay(hash, 8, 56)
	return forgot
}

// recall tells when a tuple closed, if it did at most keep before now. After
// that it is forgotten.
func (m *tupleMemory) recall(hash uint64, now int64) (closedAt int64, ok bool) {
	s := m.set(hash)
	at := s.place(hash)
	if at < 0 {
		return 0, false
	}
	if closedAt = reference(now).time(s.closedAt[at]); now-closedAt > m.keep {
		s.tags[at] = 0
		return 0, false
	}
	return closedAt, true
}

// forget makes room once a new connection has taken the tuple.
func (m *tupleMemory) forget(hash uint64) {
	s := m.set(hash)
	if at := s.place(hash); at >= 0 {
		s.tags[at] = 0
	}
}
