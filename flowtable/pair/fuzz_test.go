package pair

import (
	"slices"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// modelled is a stage without indexes: it looks through all that waits.
type modelled struct {
	room    int
	known   nat // nil without a Translator
	waiting []arrived
	out     []flowtable.Record
}

type arrived struct {
	record flowtable.Record
	since  int64
}

func (m *modelled) take(r flowtable.Record, now int64) {
	if m.paired(r, false) {
		return
	}
	if len(m.waiting) == m.room {
		m.release()
	}
	m.waiting = append(m.waiting, arrived{r, now})
}

func (m *modelled) advance(now int64) {
	for len(m.waiting) > 0 && m.waiting[0].since+int64(wait) <= now {
		m.release()
	}
}

func (m *modelled) release() {
	r := m.waiting[0].record
	m.waiting = m.waiting[1:]
	if m.paired(r, true) {
		return
	}
	if other, ok := m.known[tupleOf(&r)]; ok {
		translate(&r, other)
	}
	m.out = append(m.out, r)
}

// paired takes the best of those that wait, by translation, by tuple, and at last
// by sequence numbers.
func (m *modelled) paired(r flowtable.Record, last bool) bool {
	own := tupleOf(&r)
	other, translated := m.known[own]
	ways := []func(of *flowtable.Record) (fit, reversed bool){}
	byTuple := func(t segment.Tuple, elsewhere bool) func(of *flowtable.Record) (bool, bool) {
		return func(of *flowtable.Record) (bool, bool) {
			theirs := tupleOf(of)
			reversed := theirs != t && theirs == t.Reversed()
			return (theirs == t || reversed) && (!elsewhere || of.Interface != r.Interface) && fits(&r, of, reversed), reversed
		}
	}
	if translated {
		ways = append(ways, byTuple(other, false))
	}
	if !translated || last {
		ways = append(ways, byTuple(own, true))
	}
	for _, way := range ways {
		best, back := -1, false
		for i := range m.waiting {
			of := &m.waiting[i].record
			if fit, reversed := way(of); fit && (best < 0 || apart(&r, of) < apart(&r, &m.waiting[best].record)) {
				best, back = i, reversed
			}
		}
		if best >= 0 {
			m.pair(best, r, back)
			return true
		}
	}
	switch {
	case last:
		return m.pairedBySequence(r, own, other, translated, anyEnds)
	case m.known == nil:
		return m.pairedBySequence(r, own, other, translated, sharesEnd)
	}
	return false
}

func (m *modelled) pairedBySequence(r flowtable.Record, own, other segment.Tuple, translated bool, ends func(a, b *flowtable.Record) bool) bool {
	var same []int
	for i := range m.waiting {
		if of := &m.waiting[i].record; bothOpened(&r) && bothOpened(of) && sameSequence(&r, of) && ends(&r, of) {
			same = append(same, i)
		}
	}
	if len(same) != 1 {
		return false
	}
	theirs := tupleOf(&m.waiting[same[0]].record)
	back, known := m.known[theirs]
	if (translated || known) && (!translated || other != theirs) && (!known || back != own) {
		return false
	}
	m.pair(same[0], r, false)
	return true
}

func (m *modelled) pair(i int, r flowtable.Record, reversed bool) {
	first := m.waiting[i].record
	m.waiting = slices.Delete(m.waiting, i, i+1)
	join(&first, &r, reversed)
	m.out = append(m.out, first, r)
}

// FuzzStage gives a stage and its model the same records, translations and times.
// Both let the same records go in the same order with the same peers, each once.
func FuzzStage(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 1, 1, 1, 0, 9, 200, 200})
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 255, 40, 255, 80, 7, 7, 7})
	f.Fuzz(runScript)
}

// runScript plays octets as records, times and translations to both.
func runScript(t *testing.T, script []byte) {
	known := nat{}
	if len(script)%2 == 0 {
		known = nil
	}
	s := newStage(t, func(c *Config) {
		if c.Room = 5; known != nil {
			c.Translator = known
		}
	})
	m := &modelled{room: 5, known: known}
	now, serial := int64(0), uint64(0)
	next := func() (b int) {
		if len(script) > 0 {
			b, script = int(script[0]), script[1:]
		}
		return b
	}
	tuples := []segment.Tuple{inner, outer, inner.Reversed(), tuple("10.0.0.7:40001", "192.0.2.80:443"), tuple("[2001:db8::1]:1", "[2001:db8::2]:2")}
	for len(script) > 0 {
		switch action := next(); {
		case action < 200:
			serial++
			r := closed(serial, uint32(action%3), tuples[next()%len(tuples)], now)
			choice := next()
			r.ClientISN, r.ServerISN, r.Slice = uint32(choice%3), uint32(choice/3%2), uint32(choice/6%8/7)
			r.Opened &= uint8(choice / 48 << 1)
			if choice&1 != 0 {
				r.StartAt -= int64(choice)
			}
			s.write(now, r)
			m.take(r, now)
		case action < 230:
			now += int64(next()) * int64(20*time.Millisecond)
			s.Advance(now)
		case action < 245 && known != nil:
			known.add(tuples[next()%2], tuples[3+next()%2])
		default:
			clear(known)
		}
		m.advance(now)
	}
	s.Close()
	for len(m.waiting) > 0 {
		m.release()
	}
	if uint64(len(s.out)) != serial || !slices.Equal(s.out, m.out) {
		t.Errorf("%d records went in, %d came out:\n got %v\nwant %v", serial, len(s.out), s.peers(), (&collected{t: t, out: m.out}).peers())
	}
}
