package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
	"github.com/finwait/finwait/xdp/generator"
)

const (
	gatewayPairs = 20
	gatewayRun   = 500 * time.Millisecond
)

// gatewaySite is a site with what is measured there.
type gatewaySite struct {
	*gatewaytest.Site
	tb testing.TB
}

// paired runs a measurement without and with 'finwait run' in the box, in turns, and
// reports the median of the ratios to what was before and behind, and its quartiles: a
// single ratio is off by a tenth or more. finwait is a process of its own, as it would be:
// the client and the server are this one.
func paired(b *testing.B, s *gatewaySite, unit string, measure func() float64) {
	b.Helper()
	binary := buildBinary(b)
	var ratios, without, with []float64
	before := measure()
	for range gatewayPairs {
		stop := s.run(binary)
		between := measure()
		stop()
		behind := measure()
		without, with, ratios = append(without, before), append(with, between), append(ratios, 2*between/(before+behind))
		before = behind
	}
	for _, list := range [][]float64{ratios, without, with} {
		slices.Sort(list)
	}
	b.ReportMetric(ratios[gatewayPairs/2], "with/without")
	b.ReportMetric(ratios[gatewayPairs/4], "first-quartile")
	b.ReportMetric(ratios[gatewayPairs*3/4], "third-quartile")
	b.ReportMetric(without[gatewayPairs/2], unit+"-without")
	b.ReportMetric(with[gatewayPairs/2], unit+"-with")
	b.ReportMetric(0, "ns/op")
}

// run starts finwait in the box, and returns once it measures.
func (s *gatewaySite) run(binary string) (stop func()) {
	s.tb.Helper()
	var stderr output
	p := exec.Command(binary, "run", "--mode", "gateway", "--interface", gatewaytest.LAN+","+gatewaytest.WAN,
		"--listen", "127.0.0.1:0", "--max-flows", "65536", "--recent", "4096")
	p.Stderr = &stderr
	s.In(s.Box, p.Start)
	eventually(s.tb, "start", func() bool { return apiAddress.MatchString(stderr.String()) })
	return func() {
		err := errors.Join(p.Process.Signal(syscall.SIGTERM), p.Wait())
		if err != nil || !strings.Contains(stderr.String(), "\nstopped: ") {
			s.tb.Fatalf("%v: %s", err, stderr.String())
		}
	}
}

// BenchmarkGatewayThroughput sends on one connection through the box.
func BenchmarkGatewayThroughput(b *testing.B) {
	s := &gatewaySite{gatewaytest.New(b), b}
	at := s.Serve(0)[0]
	for b.Loop() {
		paired(b, s, "Gbit/s", func() float64 { return s.send(at) * 8 / 1e9 })
	}
}

// send returns the octets a second that one connection carries.
func (s *gatewaySite) send(at netip.AddrPort) float64 {
	var octets int
	began := time.Now()
	s.In(s.Client, func() error {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			return err
		}
		defer c.Close()
		buffer := make([]byte, 256<<10)
		for time.Since(began) < gatewayRun {
			n, err := c.Write(buffer)
			octets += n
			if err != nil {
				return err
			}
		}
		return nil
	})
	return float64(octets) / time.Since(began).Seconds()
}

// BenchmarkGatewayConnections opens and closes connections through the box, one after
// the other on each of four threads, each with a request and an answer.
func BenchmarkGatewayConnections(b *testing.B) {
	s := &gatewaySite{gatewaytest.New(b), b}
	at := s.Serve(1000)
	for b.Loop() {
		paired(b, s, "conn/s", func() float64 {
			t := s.StartTraffic(at, 100, 1000, 0)
			time.Sleep(gatewayRun)
			t.Stop()
			if t.Failure != nil {
				b.Fatal(t.Failure)
			}
			return float64(t.Count) / gatewayRun.Seconds()
		})
	}
}

// BenchmarkGatewayFlood forwards SYNs at the generator's full rate.
func BenchmarkGatewayFlood(b *testing.B) {
	s := &gatewaySite{gatewaytest.New(b), b}
	for b.Loop() {
		paired(b, s, "SYN/s", s.flood)
	}
}

// flood returns the share of the generator's SYNs that the box forwards.
func (s *gatewaySite) flood() float64 {
	s.tb.Helper()
	var to net.HardwareAddr
	s.In(s.Box, func() error { return gatewaytest.Hardware(gatewaytest.LAN, func(a net.HardwareAddr) { to = a }) })
	var receiver *generator.Receiver
	s.In(s.Box, func() (err error) {
		receiver, err = generator.Deliver(gatewaytest.LAN)
		return err
	})
	defer receiver.Close()
	var g *generator.Generator
	s.In(s.Client, func() (err error) {
		g, err = generator.Open(generator.Config{Interface: gatewaytest.End, Destination: to, Window: 1 << 23, CPU: 0})
		return err
	})
	defer g.Close()
	var before, after netlink.LinkStatistics
	s.In(s.Box, func() (err error) { before, err = gatewaytest.Statistics(gatewaytest.WAN); return err })
	ctx, cancel := context.WithTimeout(context.Background(), gatewayRun)
	defer cancel()
	run, err := g.Fill(ctx, 0)
	if err != nil && ctx.Err() == nil {
		s.tb.Fatal(err)
	}
	if run.Counts.Kinds[generator.SYN] != run.Counts.Made {
		s.tb.Fatal(fmt.Errorf("%d frames, of which %d SYNs", run.Counts.Made, run.Counts.Kinds[generator.SYN]))
	}
	s.In(s.Box, func() (err error) { after, err = gatewaytest.Statistics(gatewaytest.WAN); return err })
	return float64(after.TxPackets-before.TxPackets) / run.Took.Seconds()
}
