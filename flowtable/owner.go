package flowtable

import (
	"sync/atomic"

	"github.com/finwait/finwait/flowtable/segment"
)

// Owners hears of whoever the ends of connections belong to. Sighted is called by the
// table's goroutine, once for each end of a connection: it must not block or
// allocate.
type Owners interface {
	Sighted(owner uint64)
}

// owned is whose the ends of the connection in a slot are. A table has these only where
// it is asked for owners: most have none. What it says is of the record with that
// serial number alone, so that it goes with the connection and needs no guard.
type owned struct {
	serial atomic.Uint64 // plus 1; 0 while the rest changes, and where there is nothing
	ends   [2]atomic.Uint64
}

const ownedSize = 24

// own notes whose socket sent a segment.
func (t *Table) own(slot uint32, c *connection, s *segment.Segment, side uint8) {
	if s.Marks&segment.Owned != 0 && t.owned != nil {
		t.sighted(slot, c, s, side)
	}
}

func (t *Table) sighted(slot uint32, c *connection, s *segment.Segment, side uint8) {
	o := &t.owned[slot]
	ends := o.of(c.serial)
	if ends[side] == s.Owner {
		return
	}
	ends[side] = s.Owner
	o.set(c.serial, ends)
	t.config.Owners.Sighted(s.Owner)
}

// of returns the owners of the record with a serial number, 0 for what is not known.
// Any goroutine may ask.
func (o *owned) of(serial uint64) (ends [2]uint64) {
	if o.serial.Load() != serial+1 {
		return ends
	}
	ends[0], ends[1] = o.ends[0].Load(), o.ends[1].Load()
	if o.serial.Load() != serial+1 {
		return [2]uint64{}
	}
	return ends
}

func (o *owned) set(serial uint64, ends [2]uint64) {
	o.serial.Store(0)
	o.ends[0].Store(ends[0])
	o.ends[1].Store(ends[1])
	o.serial.Store(serial + 1)
}

// attribute adds to a connection's record whose its ends are.
func (t *Table) attribute(slot uint32, c *connection, r *Record) {
	if t.owned == nil {
		return
	}
	ends := t.owned[slot].of(c.serial)
	r.Client.Owner, r.Server.Owner = ends[c.client], ends[1-c.client]
}

// inherit leaves the owners of a slice to the next one.
func (t *Table) inherit(slot uint32, from, to uint64) {
	if t.owned != nil {
		o := &t.owned[slot]
		o.set(to, o.of(from))
	}
}
