package main

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/pair"
	"github.com/finwait/finwait/xdp/conntrack"
)

const (
	// pairRoom is how many records can wait for their peers. Those that have one
	// wait for milliseconds.
	pairRoom = 1 << 15
	// A record is written up to a tick after it is due, which is a 256th of its
	// timeout: so much apart are the two of a connection that did not close. No sink
	// is kept waiting for longer than longestPairWait.
	ticksOfTimeout  = 256
	leastPairWait   = 2 * time.Second
	longestPairWait = 10 * time.Second
	// addressInterval is how often the machine's own addresses are asked for.
	addressInterval = 5 * time.Second
)

// Stages of the ledger that a gateway has.
const (
	stageConntrack = "conntrack"
	stagePair      = "pair"
)

// pairing finds the two records of what passes through a gateway.
type pairing struct {
	stage     *pair.Stage
	conntrack *conntrack.Listener // nil where nobody asks, or the kernel tracks no connections
	handle    *netlink.Handle     // of the gateway's namespace
	single    bool                // one interface is measured
	own       atomic.Pointer[map[[16]byte]bool]
	warnings  []string
}

// openPairing works in the network namespace of the calling thread, which is the
// gateway's.
func openPairing(c *applianceConfig, next func([]flowtable.Record)) (*pairing, error) {
	p := &pairing{single: len(c.gateway.Interfaces) == 1}
	if err := p.open(c, next); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pairing) open(c *applianceConfig, next func([]flowtable.Record)) (err error) {
	if p.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	p.lookAround()
	if !c.blindNAT {
		p.openConntrack(c)
	}
	config := pair.Config{Wait: pairWait(c.timeouts), Room: pairRoom, Lone: p.lone}
	if p.conntrack != nil {
		config.Translator = p.conntrack
	}
	p.stage, err = pair.New(config, next)
	return err
}

// openConntrack follows connection tracking. A kernel without it is no reason not to
// measure.
func (p *pairing) openConntrack(c *applianceConfig) {
	l, err := conntrack.Open(conntrack.Config{
		Room:   int(c.maxFlows),
		Report: func(err error) { c.report(fmt.Sprintf("warning: %v", err)) },
	})
	if err != nil {
		p.warnings = append(p.warnings, fmt.Sprintf("%v; the two sides of a connection that NAT rewrites find each other by their initial sequence numbers alone", err))
		return
	}
	p.conntrack, p.warnings = l, append(p.warnings, l.Warnings()...)
}

// pairWait is how long a record waits for the other side's.
func pairWait(t flowtable.Timeouts) time.Duration {
	tick := max(t.Opening, t.Established, t.Closing, t.Linger) / ticksOfTimeout
	return min(max(leastPairWait, time.Second+tick), longestPairWait)
}

// lone tells of the machine's own connections, and of all where there is only one
// interface: conntrack knows those that have another side nevertheless. Without it,
// own addresses may be those that NAT puts in, and so may they be where it has had no
// time to tell.
func (p *pairing) lone(r *flowtable.Record) bool {
	own := *p.own.Load()
	told := p.conntrack != nil && monotonic()-r.StartAt > int64(conntrack.Delay)
	return p.single || told && (own[r.Client.Address] || own[r.Server.Address])
}

// lookAround learns the machine's own addresses. Where they cannot be learnt, all
// records wait.
func (p *pairing) lookAround() {
	own := map[[16]byte]bool{}
	addresses, err := p.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err == nil || errors.Is(err, netlink.ErrDumpInterrupted) {
		for _, a := range addresses {
			if ip, ok := netip.AddrFromSlice(a.IP); ok {
				own[ip.As16()] = true
			}
		}
	}
	p.own.Store(&own)
}

// take is for the publisher.
func (p *pairing) take(records []flowtable.Record) { p.stage.Write(records, monotonic()) }

// idle is for the publisher when it has nothing to publish.
func (p *pairing) idle() { p.stage.Advance(monotonic()) }

// close ends what listens; the stage is the publisher's to close.
func (p *pairing) close() (err error) {
	if p.conntrack != nil {
		err = p.conntrack.Close()
	}
	if p.handle != nil {
		p.handle.Close()
	}
	return err
}

// fact says how the two sides of a connection find each other.
func (p *pairing) fact(c *applianceConfig) string {
	by := "by initial sequence numbers behind NAT"
	if p.conntrack != nil {
		by = fmt.Sprintf("by connection tracking behind NAT, room for %d translations", c.maxFlows)
	}
	return fmt.Sprintf("pairs: a record waits at most %v for the other side's, room for %d; %s", pairWait(c.timeouts).Round(100*time.Millisecond), pairRoom, by)
}

func (p *pairing) ledger() []api.LedgerEntry {
	var entries []api.LedgerEntry
	add := func(stage, reason string, n uint64, loss bool) {
		entries = append(entries, api.LedgerEntry{Stage: stage, Reason: reason, Count: n, Loss: loss})
	}
	if p.conntrack != nil {
		s := p.conntrack.Stats()
		add(stageConntrack, "reports", s.Reports.Load(), false)
		add(stageConntrack, "table_readings", s.Readings.Load(), false)
		add(stageConntrack, "reports_overrun", s.Overruns.Load(), true)
		add(stageConntrack, "translations_forgotten", s.Forgotten.Load(), true)
	}
	s := p.stage.Stats()
	add(stagePair, "by_tuple", s.ByTuple.Load(), false)
	add(stagePair, "by_translation", s.ByTranslation.Load(), false)
	add(stagePair, "by_sequence", s.BySequence.Load(), false)
	add(stagePair, "lone", s.Lone.Load(), false)
	add(stagePair, "alone_in_time", s.InVain.Load(), false)
	add(stagePair, "alone_at_end", s.AtEnd.Load(), false)
	add(stagePair, "alone_for_room", s.NoRoom.Load(), true)
	return entries
}
