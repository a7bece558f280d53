package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/lab"
)

// appliance opens one on the tap that does not work yet: what arrives waits in
// the sockets' rings. Its API listens where the test itself lives.
func (s *site) appliance(change func(*applianceConfig)) *appliance {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	c := applianceConfig{
		tap:      xdp.Config{Interfaces: []string{lab.TapInterface}, MaxFlows: 1 << 16},
		maxFlows: 1 << 16,
		recent:   1 << 16,
		timeouts: flowtable.LiveTimeouts(),
		listener: listener,
		patience: patience,
		report:   func(line string) { s.t.Log(line) },
	}
	change(&c)
	var a *appliance
	s.do(lab.Tap, func() error {
		a, err = openAppliance(c)
		return err
	})
	s.t.Cleanup(func() {
		if err := a.close(); err != nil {
			s.t.Error(err)
		}
	})
	return a
}

// A socket whose ring overflows loses segments. The ledger counts every one,
// the connection that may have missed some says that its evidence is lossy,
// and one that is opened afterwards does not.
func TestLossIsTold(t *testing.T) {
	const ring, frames = 64, 1000
	s := newSite(t, 1)
	a := s.appliance(func(c *applianceConfig) { c.tap.RingSize = ring })
	client, server := s.connect() // SYN, SYN-ACK and ACK wait in the ring
	// Whatever arrives at the tap is in its ring or lost there, before the
	// first worker looks.
	s.flood(frames, func() bool { return programCount(a, "passed") >= frames+3 })
	a.start(t.Context())
	defer func() {
		if err := a.stop(); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "loss in the ledger", func() bool { return a.team.Workers()[0].Stats().Lost.Load() > 0 })
	body, err := get(t.Context(), a.config.listener.Addr(), "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	lost := losses(t, readObjects(t, string(body))[0])
	if n := lost["socket/rx_ring_full"] + lost["socket/rx_dropped"]; n != programCount(a, "passed")-ring {
		t.Errorf("%d segments were passed to a ring of %d, the losses are %v", programCount(a, "passed"), ring, lost)
	}
	if found := a.evidence(t, client, server); found != "lossy" {
		t.Errorf("the connection that was open when segments were lost has evidence %q", found)
	}
	client, server = s.connect()
	if found := a.evidence(t, client, server); found != "full" {
		t.Errorf("the connection that was opened later has evidence %q", found)
	}
}

// evidence closes a connection and returns its record's.
func (a *appliance) evidence(t *testing.T, client, server *net.TCPConn) (found string) {
	t.Helper()
	for _, c := range []*net.TCPConn{client, server} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	from, to := client.LocalAddr().(*net.TCPAddr).Port, client.RemoteAddr().(*net.TCPAddr).Port
	eventually(t, "record", func() bool {
		for _, r := range a.onRecord(t) {
			if int(r.Client.Port) == from && int(r.Server.Port) == to {
				found = r.Evidence.String()
			}
		}
		return found != ""
	})
	return found
}

// programCount is one of the tap program's counters.
func programCount(a *appliance, reason string) (n uint64) {
	for _, c := range a.source.Ledger() {
		if c.Stage == xdp.StageProgram && c.Reason == reason {
			n += c.Value
		}
	}
	return n
}

// slowWriter takes a while for every chunk, as a slow disk.
type slowWriter struct {
	bytes.Buffer
	pause time.Duration
}

func (w *slowWriter) Write(b []byte) (int, error) {
	time.Sleep(w.pause)
	return w.Buffer.Write(b)
}

// At the end more connections are open than the ring of records has places:
// the worker waits for the sinks, and each is on record.
func TestLastRecordsAreAwaited(t *testing.T) {
	const open = recordRing + recordRing/4
	s := newSite(t, 1)
	w := &slowWriter{pause: time.Millisecond}
	a := s.appliance(func(c *applianceConfig) { c.records = w })
	a.start(t.Context())
	s.flood(open, func() bool { return a.tables[0].Stats().Connections.Load() >= open })
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(w.String(), `"end_reason":"shutdown"`); n != open || a.recent.Len() != open {
		t.Errorf("%d connections were open, %d are in the file, %d in the API: %s", open, n, a.recent.Len(), a.outcome())
	}
}

// stuckWriter never returns until it is let go, as a pipe that nobody reads.
type stuckWriter struct {
	once   sync.Once
	called chan struct{}
	letGo  chan struct{}
}

func (w *stuckWriter) Write([]byte) (int, error) {
	w.once.Do(func() { close(w.called) })
	<-w.letGo
	return 0, io.ErrClosedPipe
}

// A sink that takes nothing at all does not keep the appliance from ending,
// which says so.
func TestStuckSinkIsGivenUp(t *testing.T) {
	s := newSite(t, 1)
	w := &stuckWriter{called: make(chan struct{}), letGo: make(chan struct{})}
	defer close(w.letGo)
	a := s.appliance(func(c *applianceConfig) { c.records, c.patience = w, 100*time.Millisecond })
	a.start(t.Context())
	s.flood(10, func() bool { return a.tables[0].Stats().Connections.Load() >= 10 })
	if err := a.stop(); err == nil || !strings.Contains(err.Error(), "not taken within 100ms") || !strings.Contains(err.Error(), "--records") {
		t.Errorf("stop: %v", err)
	}
	<-w.called
}
