package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/generator"
)

// liveLedger is the appliance's ledger, the queues' lines summed, by stage and
// reason.
type liveLedger map[string]api.LedgerEntry

func (l liveLedger) count(stage, reason string) uint64 { return l[stage+" "+reason].Count }

// ledger is that of now; empty where no appliance is measured.
func (s *liveSession) ledger() liveLedger {
	l := liveLedger{}
	if s.appliance == nil {
		return l
	}
	for _, e := range s.appliance.status().Ledger {
		name := e.Stage + " " + e.Reason
		e.Count += l[name].Count
		l[name] = e
	}
	return l
}

// tcpFrames are the frames of TCP that came to the program: on an interface that
// is not the benchmark's own, others may send too.
func (l liveLedger) tcpFrames() uint64 {
	return l.count(xdp.StageProgram, "frames") - l.count(xdp.StageProgram, "not_tcp") - l.count(xdp.StageProgram, "not_ip")
}

// loss is a number of frames, segments or records that went astray, and where.
type loss struct {
	Where string
	Count uint64
}

func (l loss) String() string { return fmt.Sprintf("%d at %s", l.Count, l.Where) }

// losses are all between the generator and the worker since an earlier ledger.
// It waits until everything that was sent has come, or nothing moves any more.
func (s *liveSession) losses(sent generator.Counts, before liveLedger) []loss {
	var found []loss
	note := func(where string, n uint64) {
		if n > 0 {
			found = append(found, loss{where, n})
		}
	}
	note("generator: frames that the kernel did not let be cut", sent.Failed)
	note("transmit: frames that the interface did not take", sent.Unsent())
	note("transmit: frames that found its ring full", sent.Refused)
	if s.appliance == nil {
		return found
	}
	now := s.settledLedger(sent, before)
	since := func(stage, reason string) uint64 { return now.count(stage, reason) - before.count(stage, reason) }
	named := since(xdp.StageNIC, "rx_dropped") + since(xdp.StageNIC, "rx_missed")
	came := now.tcpFrames() - before.tcpFrames()
	if missing := sent.Sent - min(sent.Sent, came); missing > named {
		note("wire: frames that were taken and never came to the program", missing-named)
	}
	if passed, received := since(xdp.StageProgram, "passed"), since(stageWorker, "received"); passed > received {
		socket := since(xdp.StageSocket, "rx_dropped") + since(xdp.StageSocket, "rx_ring_full") + since(xdp.StageSocket, "malformed")
		note("socket: segments that were passed and never came to the worker", passed-received-min(passed-received, socket))
	}
	for name, entry := range now {
		if entry.Loss {
			note(strings.Replace(name, " ", ": ", 1), entry.Count-before[name].Count)
		}
	}
	slices.SortFunc(found, func(a, b loss) int { return strings.Compare(a.Where, b.Where) })
	return found
}

// settledLedger is the ledger once everything has come, or nothing moves.
func (s *liveSession) settledLedger(sent generator.Counts, before liveLedger) liveLedger {
	began := time.Now()
	last, moved := s.ledger(), time.Now()
	for time.Since(began) < settling && time.Since(moved) < settled {
		time.Sleep(settled / 10)
		now := s.ledger()
		if now.tcpFrames() != last.tcpFrames() || now.count(stageWorker, "received") != last.count(stageWorker, "received") {
			moved = time.Now()
		}
		last = now
		arrived := now.tcpFrames()-before.tcpFrames() == sent.Sent
		if arrived && now.count(xdp.StageProgram, "passed") == now.count(stageWorker, "received") {
			break
		}
	}
	return last
}
