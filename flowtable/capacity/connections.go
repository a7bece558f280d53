package capacity

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/finwait/finwait/flowtable"
)

// The segments of a connection, in order. The client closes those of even
// numbers, the server the others.
const (
	stageSYN = iota
	stageSYNACK
	stageACK
	stageData
	stageFIN1
	stageACK1
	stageFIN2
	stageACK2
	stages
)

const (
	// perStage is how many connections of every stage are in a batch.
	perStage = batchSize / stages

	// abandoned is how many connections there are for one that sends nothing
	// after its data, and is ended by its idle timeout.
	abandoned = 8

	// lags is how many lags a table has room for, at least. A connection
	// lives for 7 until it is closed, 2 while it lingers; one that is
	// abandoned for 3 and an idle timeout of 4.
	lags = 16

	// settled is after how many lags as many connections end as begin.
	settled = 10

	// shuffled bounds the blocks of connections in which every stage has an
	// order of its own.
	shuffled = 1 << 16

	idleTimeout = 2 * time.Second
	linger      = time.Second
)

// churn opens and closes connections in a table: a batch has a few of every
// stage. From one stage of a connection to its next, lag others come.
type churn struct {
	*traffic
	table     *table
	lag       uint64 // a power of two
	mask      uint64 // of a block
	step      uint64 // batches so far
	betweenNS int64  // from one connection to the next
	started   uint64 // connections
	sent      sums
}

// churnTimeouts are those under which connections come and go.
var churnTimeouts = flowtable.Timeouts{Opening: idleTimeout, Established: idleTimeout, Closing: idleTimeout, Linger: linger}

func newChurn(flows uint32) (*churn, error) {
	table, err := newTable(flows, churnTimeouts)
	return churnIn(table, flows), err
}

func churnIn(table *table, flows uint32) *churn {
	c := &churn{traffic: newTraffic(flows), table: table}
	c.lag = 1 << (bits.Len32(flows/lags) - 1)
	c.mask = min(c.lag, shuffled) - 1
	c.betweenNS = int64(linger) / int64(2*c.lag)
	return c
}

// connection is the one that comes at a place in a stage: every stage has its
// own order within a block.
func (c *churn) connection(stage, place uint64) uint32 {
	return uint32(place&^c.mask | permute(place&c.mask^stage*0x55, c.mask, uint(bits.Len64(c.mask)+1)/2))
}

// next makes a batch of segments of all stages and has the table follow it.
func (c *churn) next() {
	n := 0
	for stage := range uint64(stages) {
		first := c.step * perStage
		if first < stage*c.lag {
			break // the first connections have not come so far
		}
		for i := range uint64(perStage) {
			connection := c.connection(stage, first-stage*c.lag+i)
			if stage > stageData && connection%abandoned == abandoned-1 {
				continue
			}
			c.stage(n, connection, uint32(stage))
			n++
		}
	}
	c.clock += perStage * c.betweenNS
	c.step++
	c.started += perStage
	c.table.follow(c.batch[:n])
}

// stage makes the segment of a stage.
func (c *churn) stage(i int, connection, stage uint32) {
	closer := connection & 1
	// What each end has sent before: its SYN, and the client its data.
	next := [2]uint32{clientISN(connection) + 1, serverISN(connection) + 1}
	if stage > stageData {
		next[client] += payload
	}
	var side, octets uint32
	flags := uint8(flagsACK)
	switch stage {
	case stageSYN:
		flags = flagsSYN
		next[client]--
	case stageSYNACK:
		side, flags = server, flagsSYNACK
		next[server]--
	case stageData:
		octets, flags = payload, flagsData
		c.sent.payload += payload
	case stageFIN1:
		side, flags = closer, flagsFIN
	case stageACK1:
		side = closer ^ 1
		next[closer]++
	case stageFIN2:
		side, flags = closer^1, flagsFIN
		next[closer]++
	case stageACK2:
		side = closer
		next[closer]++
		next[closer^1]++
	}
	ack := next[side^1]
	if stage == stageSYN {
		ack = 0
	}
	c.put(i, connection, side, next[side], ack, octets, flags)
	c.sent.packets++
	c.sent.octets += uint64(octets) + headers
}

// open begins n connections, or a few more, and returns how many.
func (c *churn) open(n int) int {
	before := c.started
	for c.started-before < uint64(n) {
		c.next()
	}
	return int(c.started - before)
}

// verify lets no connection be without its record, or end otherwise than it
// was meant to.
func (c *churn) verify() error {
	stats := c.table.Stats()
	idle, closed := stats.ByReason[flowtable.EndIdleTimeout].Load(), stats.ByReason[flowtable.EndClosed].Load()
	if c.started > lags*c.lag { // those before that are over
		over := c.started - lags*c.lag
		if left := over / abandoned; idle < left || closed < over-left-1 {
			return fmt.Errorf("of %d connections at least %d should have been closed and %d ended by their idle timeout, and %d and %d were: the figures would mean nothing",
				c.started, over-left-1, left, closed, idle)
		}
	}
	c.sent.connections = c.started
	return c.table.verify(c.sent)
}

// measureConnections fills in the Connections of results.
func measureConnections(ctx context.Context, o *Options, p Progress, results []Result) (err error) {
	churns := make([]*churn, len(results))
	defer func() {
		for _, c := range churns {
			if c != nil && c.table != nil {
				err = errors.Join(err, c.table.Close())
			}
		}
	}()
	var before int64
	for i := range results {
		if churns[i], err = newChurn(results[i].Flows); err != nil {
			return err
		}
		results[i].TableOctets = churns[i].table.octets()
		before += int64(settled * churns[i].lag)
	}
	p.Stage("opening connections", before)
	for _, c := range churns {
		for c.started < settled*c.lag {
			if err := ctx.Err(); err != nil {
				return err
			}
			p.Add(int64(c.open(min(stride, int(settled*c.lag-c.started)))))
		}
	}
	p.Stage("whole connections", int64(o.Rounds*len(churns)))
	for range o.Rounds {
		for i, c := range churns {
			ns, _, err := timed(ctx, o.Connections, c.open)
			if err != nil {
				return err
			}
			results[i].Connections = append(results[i].Connections, ns)
			p.Add(1)
		}
	}
	for i, c := range churns {
		if err := c.verify(); err != nil {
			return fmt.Errorf("%d flows: whole connections: %w", results[i].Flows, err)
		}
	}
	return nil
}
