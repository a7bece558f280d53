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
	missing, stuck := now.unaccounted(before, sent)
	note("wire: frames that were taken and never came to the program", missing)
	note("socket: segments that were passed and never came to the worker", stuck)
	for name, entry := range now {
		if entry.Loss {
			note(strings.Replace(name, " ", ": ", 1), entry.Count-before[name].Count)
		}
	}
	slices.SortFunc(found, func(a, b loss) int { return strings.Compare(a.Where, b.Where) })
	return found
}

// unaccounted are the frames that did not come to the program and the segments
// that did not come to the worker, as far as no other line names them.
func (l liveLedger) unaccounted(before liveLedger, sent generator.Counts) (missing, stuck uint64) {
	since := func(stage string, reasons ...string) (n uint64) {
		for _, reason := range reasons {
			n += l.count(stage, reason) - before.count(stage, reason)
		}
		return n
	}
	came := l.tcpFrames() - before.tcpFrames() + since(xdp.StageNIC, "rx_dropped", "rx_missed")
	received := since(stageWorker, "received") + since(xdp.StageSocket, "rx_dropped", "rx_ring_full", "malformed")
	passed := since(xdp.StageProgram, "passed")
	return sent.Sent - min(sent.Sent, came), passed - min(passed, received)
}

// settledLedger is the ledger once everything is accounted for, or has had all
// the time that a machine with other work could need.
func (s *liveSession) settledLedger(sent generator.Counts, before liveLedger) liveLedger {
	for began := time.Now(); ; time.Sleep(settlePoll) {
		now := s.ledger()
		if missing, stuck := now.unaccounted(before, sent); missing+stuck == 0 || time.Since(began) > settling {
			return now
		}
	}
}
