package capacity

import (
	"time"

	"github.com/finwait/finwait/flowtable"
)

// Load is a flow table under load, for measurements of what else the machine
// does meanwhile. One goroutine runs it; others may read the table as its methods
// allow.
type Load struct {
	table *table
	step  func(n int) int
	unit  string
}

// NewChurn is a load of whole connections, from SYN to record, in a table for
// so many that is kept more than half full. Their records go to records.
func NewChurn(flows uint32, records flowtable.Records) (*Load, error) {
	t, err := newTableFor(flows, churnTimeouts, records)
	if err != nil {
		return nil, err
	}
	c := churnIn(t, flows)
	return &Load{table: t, step: c.open, unit: "connections"}, nil
}

// NewEstablished is a load of data segments of so many connections, all of them
// established, one in 64 half closed: its server keeps it in CLOSE-WAIT.
func NewEstablished(flows uint32) (*Load, error) {
	t, err := newTable(flows, flowtable.LiveTimeouts())
	if err != nil {
		return nil, err
	}
	sender := newTraffic(flows)
	for first := uint32(0); first < flows; {
		n := min(batchSize, flows-first)
		sender.handshakes(first, int(n), t.follow)
		first += n
	}
	l := &Load{table: t, step: func(n int) int { return sender.send(n, t.follow) }, unit: "segments"}
	for c := uint32(0); c < flows; c += halfClosed {
		sender.put(0, c, client, clientISN(c)+1, serverISN(c)+1, 0, flagsFIN)
		sender.put(1, c, server, serverISN(c)+1, clientISN(c)+2, 0, flagsACK)
		t.follow(sender.batch[:2])
		sender.clock += betweenCloses
	}
	return l, nil
}

const (
	// halfClosed is how many connections there are for one that is half closed.
	halfClosed = 64
	// betweenCloses is how long after one the next is half closed, in ns.
	betweenCloses = int64(time.Millisecond)
)

// Table is the table under load.
func (l *Load) Table() *flowtable.Table { return l.table.Table }

// Unit is what Run counts: connections or segments.
func (l *Load) Unit() string { return l.unit }

// Run has the table follow n of them, or a few more, and returns how many.
func (l *Load) Run(n int) int { return l.step(n) }

// Close gives the memory back.
func (l *Load) Close() error { return l.table.Close() }
