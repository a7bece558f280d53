package flowtable

import "math/bits"

const (
	tupleWays = 8
	// taken is set in every hash that is kept, so that 0 is a free place.
	taken = 1 << 63
)

// closedTuple remembers when a tuple closed, by its hash: 63 keyed bits, so
// that two tuples are taken for one another about once in 2^63 look-ups per
// remembered tuple.
type closedTuple struct {
	hash     uint64 // 0 for a free place
	closedAt int64
}

// tupleMemory keeps closed tuples after their records were written, for
// reuse_after_ns and to tell late segments from new connections. It is
// set-associative: eight places per set, of which the oldest gives way.
type tupleMemory struct {
	places []closedTuple
	mask   uint64
	keep   int64 // ns after the close
}

func newTupleMemory(capacity uint32, keep int64) (tupleMemory, error) {
	sets := uint64(1) << bits.Len64((2*uint64(capacity)+tupleWays-1)/tupleWays-1)
	places, err := reserve[closedTuple](sets * tupleWays)
	return tupleMemory{places: places, mask: sets - 1, keep: keep}, err
}

func (m *tupleMemory) set(hash uint64) []closedTuple {
	at := (hash & m.mask) * tupleWays
	return m.places[at : at+tupleWays]
}

// remember notes the close of a tuple. It tells whether another one had to be
// forgotten before its time.
func (m *tupleMemory) remember(hash uint64, closedAt, now int64) (forgot bool) {
	set := m.set(hash)
	hash |= taken
	place := &set[0]
	for i := range set {
		p := &set[i]
		if p.hash == hash {
			place = p
			break
		}
		if place.hash != 0 && (p.hash == 0 || p.closedAt < place.closedAt) {
			place = p
		}
	}
	forgot = place.hash != 0 && place.hash != hash && now-place.closedAt <= m.keep
	*place = closedTuple{hash, closedAt}
	return forgot
}

// recall tells when a tuple closed, if it did at most keep before now. After
// that it is forgotten.
func (m *tupleMemory) recall(hash uint64, now int64) (closedAt int64, ok bool) {
	set := m.set(hash)
	hash |= taken
	for i := range set {
		if p := &set[i]; p.hash == hash {
			if now-p.closedAt <= m.keep {
				return p.closedAt, true
			}
			*p = closedTuple{}
		}
	}
	return 0, false
}

// forget makes room once a new connection has taken the tuple.
func (m *tupleMemory) forget(hash uint64) {
	set := m.set(hash)
	hash |= taken
	for i := range set {
		if set[i].hash == hash {
			set[i] = closedTuple{}
			return
		}
	}
}
