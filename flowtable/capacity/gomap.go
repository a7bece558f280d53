package capacity

import "github.com/finwait/finwait/flowtable/segment"

// goMap follows connections in the way that comes to mind first.
type goMap map[segment.Key]*mapFlow

type mapFlow struct {
	startAt, endAt int64
	ends           [2]mapEnd
}

type mapEnd struct {
	packets, octets, payload uint64
	ackAt                    int64
	high, maxAck             uint32
	flags                    uint8
	started, acked           bool
}

func (m goMap) follow(batch []*segment.Segment) {
	for _, s := range batch {
		key, side := segment.KeyOf(s)
		f := m[key]
		if f == nil {
			f = &mapFlow{startAt: s.At}
			m[key] = f
		}
		f.endAt = max(f.endAt, s.At)
		f.ends[side].add(s)
	}
}

func (e *mapEnd) add(s *segment.Segment) {
	e.packets++
	e.octets += uint64(s.Octets)
	e.flags |= s.TCPFlags
	last := s.End()
	if !e.started {
		e.high, e.payload, e.started = last, uint64(s.Payload), true
	} else if int32(last-e.high) > 0 {
		e.payload += uint64(last - e.high)
		e.high = last
	}
	if s.Is(segment.ACK) && (!e.acked || int32(s.Ack-e.maxAck) > 0) {
		e.maxAck, e.ackAt, e.acked = s.Ack, s.At, true
	}
}

func (m goMap) sums() sums {
	total := sums{connections: uint64(len(m))}
	for _, f := range m {
		for i := range f.ends {
			total.packets += f.ends[i].packets
			total.octets += f.ends[i].octets
			total.payload += f.ends[i].payload
		}
	}
	return total
}
