package capacity

import (
	"fmt"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// collector takes records and adds them up. It implements flowtable.Records.
type collector struct {
	record flowtable.Record
	sums
}

func (c *collector) Next() *flowtable.Record { return &c.record }

func (c *collector) Commit() {
	r := &c.record
	c.connections++
	c.packets += r.Client.Packets + r.Server.Packets
	c.octets += r.Client.Octets + r.Server.Octets
	c.payload += r.Client.Payload + r.Server.Payload
}

// table is a flow table with what a worker has around it.
type table struct {
	*flowtable.Table
	hasher  segment.Hasher
	records *collector
	hashes  [batchSize]uint64
}

func newTable(flows uint32, timeouts flowtable.Timeouts) (*table, error) {
	records := &collector{}
	t, err := newTableFor(flows, timeouts, records)
	if err != nil {
		return nil, err
	}
	t.records = records
	return t, nil
}

// newTableFor is a table whose records go elsewhere.
func newTableFor(flows uint32, timeouts flowtable.Timeouts, records flowtable.Records) (*table, error) {
	t := &table{hasher: segment.NewHasher()}
	var err error
	t.Table, err = flowtable.New(flowtable.Config{MaxFlows: flows, Timeouts: timeouts, Records: records}, t.hasher)
	if err != nil {
		return nil, fmt.Errorf("a table for %d flows: %w", flows, err)
	}
	return t, nil
}

func (t *table) follow(batch []*segment.Segment) {
	for i, s := range batch {
		key, _ := segment.KeyOf(s)
		t.hashes[i&(batchSize-1)] = t.hasher.Hash(&key)
	}
	t.Update(batch, t.hashes[:len(batch)])
}

// octets is what was reserved for each connection that there is room for.
func (t *table) octets() float64 { return float64(t.Memory()) / float64(t.Capacity()) }

// verify finds what the table should not have done, and ends it: all of so
// many connections are written out and must add up.
func (t *table) verify(want sums) error {
	t.Flush(flowtable.EndShutdown)
	stats := t.Stats()
	var evicted uint64
	for i := range stats.Evicted {
		evicted += stats.Evicted[i].Load()
	}
	late, lost := stats.Late.Load(), stats.RecordsLost.Load()
	if evicted+late+lost != 0 {
		return fmt.Errorf("the table evicted %d connections, took %d segments for late, and lost %d records: the figures would mean nothing", evicted, late, lost)
	}
	return want.compare("the table", t.records.sums)
}
