package flowtable

import (
	"errors"
	"sync"

	"github.com/finwait/finwait/flowtable/segment"
)

// kernel does what the program at the NIC does with a segment: it counts, and
// says what is passed on. Its clock is exact.
type kernel struct {
	mu      sync.Mutex
	entries map[segment.Key]*segment.Counters
	room    int
	// crossing: both directions of a flow may come on two queues.
	crossing bool
	deaf     bool // refuses to be read
	took     int  // entries that were read and deleted
	peeked   int
}

func newKernel(room int) *kernel {
	return &kernel{entries: map[segment.Key]*segment.Counters{}, room: room}
}

var errDeaf = errors.New("the kernel's flow table cannot be read")

func (k *kernel) Peek(keys []segment.Key, counters []segment.Counters) error {
	return k.read(keys, counters, false)
}

func (k *kernel) Take(keys []segment.Key, counters []segment.Counters) error {
	return k.read(keys, counters, true)
}

func (k *kernel) read(keys []segment.Key, counters []segment.Counters, remove bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(keys) > AccountsBatch || len(counters) < len(keys) {
		return errors.New("a batch of the wrong size")
	}
	if k.deaf {
		return errDeaf
	}
	for i, key := range keys {
		counters[i] = segment.Counters{}
		entry, ok := k.entries[key]
		if !ok {
			continue
		}
		counters[i] = *entry
		if remove {
			delete(k.entries, key)
			k.took++
		} else {
			k.peeked++
		}
	}
	return nil
}

// see counts s, describes its flow in it, and tells whether it is passed on.
func (k *kernel) see(s *segment.Segment) (passed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.Marks, s.Own, s.Other = 0, segment.Direction{}, segment.Direction{}
	key, side := segment.KeyOf(s)
	entry := k.entries[key]
	control := s.Is(segment.SYN | segment.FIN | segment.RST)
	syn := s.TCPFlags&(segment.SYN|segment.ACK) == segment.SYN
	switch {
	case syn && entry != nil && k.crossing && overtaken(&entry[side], &entry[1-side], s):
		s.Own, s.Other, s.Marks = entry[side], entry[1-side], segment.HasEntry
		return true
	case syn, entry != nil && s.Is(segment.SYN) && over(entry):
		if entry != nil {
			s.Own, s.Other = entry[side], entry[1-side]
			s.Marks = segment.HasEntry | segment.Final
			delete(k.entries, key)
		}
		return true
	case entry == nil && s.Is(segment.SYN|segment.RST):
		return true
	case entry == nil && len(k.entries) >= k.room:
		s.Marks = segment.NoRoom
		return control
	case entry == nil:
		entry = &segment.Counters{}
		k.entries[key] = entry
		s.Marks = segment.Opened
	}
	own, other := &entry[side], &entry[1-side]
	acknowledged := own.MaxAck
	first := own.Marks&segment.DirectionAcked == 0
	answered := countInto(own, other, s)
	if s.Is(segment.FIN) && !s.Is(segment.RST) && s.Is(segment.ACK) && (first || own.MaxAck != acknowledged) {
		s.Marks |= segment.Raised
	}
	s.Marks |= segment.HasEntry | segment.Counted
	s.Own, s.Other = *own, *other
	return control || answered || s.Marks&segment.Opened != 0
}

// overtaken tells whether an entry is of the connection that a SYN begins, whose
// answers overtook it.
func overtaken(own, other *segment.Direction, syn *segment.Segment) bool {
	return own.Packets == 0 && other.FirstAck-syn.Seq-1 < 1<<20
}

// over tells whether both sides have closed, and owe no acknowledgement.
func over(entry *segment.Counters) bool {
	return entry[0].Marks&entry[1].Marks&segment.DirectionFinished != 0 && (entry[0].Marks|entry[1].Marks)&segment.DirectionAwaited == 0
}

// countInto adds s to its own direction, and says whether it is the awaited
// acknowledgement of the other direction's FIN.
func countInto(own, other *segment.Direction, s *segment.Segment) (answered bool) {
	if own.Packets == 0 {
		own.FirstAt, own.FirstAck = s.At, s.Ack
	}
	own.Packets++
	own.Octets += uint64(s.Octets)
	own.TCPFlags |= s.TCPFlags
	own.LastAt = max(own.LastAt, s.At)
	if s.Is(segment.RST) {
		return false
	}
	end := s.End()
	switch {
	case own.Marks&segment.DirectionStarted == 0:
		own.Base, own.High = end-s.Payload, end
		own.Payload += uint64(s.Payload)
		own.Marks |= segment.DirectionStarted
	case own.Marks&segment.DirectionFinished == 0 && int32(end-own.High) > 0:
		own.Payload += uint64(end - own.High)
		own.High = end
	}
	if s.Is(segment.ACK) {
		if own.Marks&segment.DirectionAcked == 0 || int32(s.Ack-own.MaxAck) > 0 {
			own.MaxAck = s.Ack
			own.Marks |= segment.DirectionAcked
		}
		if own.Marks&segment.DirectionAwaited != 0 && segment.Covers(s.Ack, own.Awaited) {
			own.Marks &^= segment.DirectionAwaited
			answered = true
		}
	}
	if s.Is(segment.FIN) {
		own.Marks |= segment.DirectionFinished
		other.Awaited = s.Seq + s.Payload + 1
		other.Marks |= segment.DirectionAwaited
		if other.Marks&segment.DirectionAcked != 0 && segment.Covers(other.MaxAck, other.Awaited) {
			other.Marks &^= segment.DirectionAwaited
		}
	}
	return answered
}
