package main

import (
	"fmt"
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp/generator"
)

const (
	// wrongExamples is how many wrong records are told in words.
	wrongExamples = 5
	// longestPhase and phaseDigits are the range and the precision of the phases'
	// percentiles.
	longestPhase = int64(3600e9) // ns
	phaseDigits  = 3
)

// recordCheck is a sink that holds every record against what the generator sent.
// A record tells how many data segments its connection had, and all else follows
// from that; whether the number is right is known once the window is drained.
type recordCheck struct {
	generator *generator.Generator
	sequence  bool // accounting by sequence numbers: no packets and octets

	mu       sync.Mutex
	data     []uint32 // by number of connection, data segments + 1; 0 for none yet
	records  uint64
	lossy    uint64 // records of connections that lost a segment and say so
	repeated uint64 // a second record of a connection
	unknown  uint64 // of a tuple that nobody sent
	wrong    uint64
	examples []string
	phases   [flowtable.Phases]*hdrhistogram.Histogram // ns
}

func newRecordCheck(g *generator.Generator, sequence bool) *recordCheck {
	c := &recordCheck{generator: g, sequence: sequence}
	for i := range c.phases {
		c.phases[i] = hdrhistogram.New(1, longestPhase, phaseDigits)
	}
	return c
}

// Write implements export.Sink.
func (c *recordCheck) Write(records []flowtable.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range records {
		c.take(&records[i])
	}
	return nil
}

// Close implements export.Sink.
func (c *recordCheck) Close() error { return nil }

// written is how many records came so far.
func (c *recordCheck) written() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records
}

func (c *recordCheck) take(r *flowtable.Record) {
	c.records++
	number, known := c.generator.Number(r.Client.Address, r.Client.Port)
	if !known {
		c.unknown++
		return
	}
	for int(number) >= len(c.data) {
		c.data = append(c.data, make([]uint32, max(len(c.data), 1<<16))...)
	}
	if c.data[number] != 0 {
		c.repeated++
		return
	}
	config := c.generator.Config()
	segments := (r.Client.Payload + r.Server.Payload) / uint64(config.Payload())
	c.data[number] = uint32(segments) + 1
	if r.Evidence == flowtable.Lossy {
		c.lossy++
		return
	}
	want := c.generator.Connection(number, int(segments))
	if what := c.differs(r, &want); what != "" {
		c.wrong++
		c.example("connection %v to %v: %s", want.Client, want.Server, what)
		return
	}
	for i, h := range c.phases {
		if ns, ok := r.Phase(flowtable.Phase(i)); ok {
			_ = h.RecordValue(min(ns, longestPhase)) // within its range
		}
	}
}

func (c *recordCheck) example(format string, arguments ...any) {
	if len(c.examples) < wrongExamples {
		c.examples = append(c.examples, fmt.Sprintf(format, arguments...))
	}
}

// differs says what is wrong with a record, nothing where all is right.
func (c *recordCheck) differs(r *flowtable.Record, want *generator.Connection) string {
	initiator := flowtable.Client
	if want.ServerCloses {
		initiator = flowtable.Server
	}
	const all = 1<<flowtable.RSTAt - 1 // every moment but that of a RST
	switch {
	case r.Server.Address != want.Server.Addr().As16() || r.Server.Port != want.Server.Port():
		return fmt.Sprintf("the record has another server, port %d", r.Server.Port)
	case r.CloseKind != flowtable.FourWay:
		return fmt.Sprintf("close_kind %v, sent was four_way", r.CloseKind)
	case r.Initiator != initiator:
		return fmt.Sprintf("close_initiator %v, sent was %v", r.Initiator, initiator)
	case r.Seen != all || !r.Complete:
		return fmt.Sprintf("moments seen %08b, sent were %08b", r.Seen, all)
	case r.EndReason != flowtable.EndClosed:
		return fmt.Sprintf("end_reason %v, expected closed", r.EndReason)
	case r.Evidence != flowtable.Full || r.OrientedBy != flowtable.BySYN:
		return fmt.Sprintf("evidence %v, oriented_by %v: expected full, syn", r.Evidence, r.OrientedBy)
	case r.Client.Payload != want.ClientPayload || r.Server.Payload != want.ServerPayload:
		return fmt.Sprintf("payload of %d and %d octets, sent were %d and %d", r.Client.Payload, r.Server.Payload, want.ClientPayload, want.ServerPayload)
	case r.Client.SYNRetransmits+r.Server.SYNRetransmits+r.Client.FINRetransmits+r.Server.FINRetransmits != 0:
		return "retransmissions, of which none was sent"
	case (r.Accounting == flowtable.AccountingSequence) != c.sequence:
		return fmt.Sprintf("accounting %v is not what was asked for", r.Accounting)
	case c.sequence:
		return ""
	case r.Client.Packets != want.ClientSegments || r.Server.Packets != want.ServerSegments:
		return fmt.Sprintf("%d and %d packets, sent were %d and %d", r.Client.Packets, r.Server.Packets, want.ClientSegments, want.ServerSegments)
	case r.Client.Octets != want.ClientOctets || r.Server.Octets != want.ServerOctets:
		return fmt.Sprintf("%d and %d octets, sent were %d and %d", r.Client.Octets, r.Server.Octets, want.ClientOctets, want.ServerOctets)
	}
	return ""
}

// recordVerdict is what the records of a drained session were worth.
type recordVerdict struct {
	Connections uint64 // that were sent
	Right       uint64 // have one record, which is right in every field
	Missing     uint64 // have none
	Lossy       uint64
	Wrong       uint64
	Repeated    uint64
	Unknown     uint64
	Examples    []string
}

// ok tells whether every connection has its record.
func (v *recordVerdict) ok() bool {
	return v.Right == v.Connections && v.Repeated == 0 && v.Unknown == 0
}

func (v *recordVerdict) String() string {
	return fmt.Sprintf("%d connections sent: %d have their record, right in every field; %d have none, %d say that they are lossy, %d are wrong; %d records are repeated, %d of connections that nobody sent",
		v.Connections, v.Right, v.Missing, v.Lossy, v.Wrong, v.Repeated, v.Unknown)
}

// judge holds all records against all that was sent. The appliance must be
// stopped, and the window drained.
func (c *recordCheck) judge() (*recordVerdict, error) {
	plan, err := c.generator.Plan()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing uint64
	for n := range plan.Opened() {
		if n >= uint64(len(c.data)) || c.data[n] == 0 {
			missing++
			continue
		}
		// What a lossy connection counted is not what was sent, and says so.
		if got, sent := int(c.data[n]-1), plan.DataSegments(uint32(n)); got != sent && c.lossy == 0 {
			want := plan.Connection(uint32(n))
			c.wrong++
			c.example("connection %v to %v: %d data segments, sent were %d", want.Client, want.Server, got, sent)
		}
	}
	v := &recordVerdict{
		Connections: plan.Opened(), Missing: missing, Lossy: c.lossy, Wrong: c.wrong,
		Repeated: c.repeated, Unknown: c.unknown, Examples: c.examples,
	}
	v.Right = v.Connections - min(v.Connections, v.Missing+v.Lossy+v.Wrong)
	return v, nil
}
