package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
	"github.com/finwait/finwait/xdp/generator"
)

const (
	pairs   = 8
	runTime = time.Second
)

// paired runs a measurement without and with a gateway that measures, in turns, and
// reports the median of the ratios within a pair.
func paired(b *testing.B, s *site, unit string, measure func() float64) {
	b.Helper()
	var ratios, without, with []float64
	for range pairs {
		before := measure()
		g := s.open(Config{MaxFlows: 1 << 18})
		r := s.drain(g)
		after := measure()
		r()
		if err := g.Close(); err != nil {
			b.Fatal(err)
		}
		without, with, ratios = append(without, before), append(with, after), append(ratios, after/before)
	}
	for _, list := range [][]float64{ratios, without, with} {
		slices.Sort(list)
	}
	b.ReportMetric(ratios[pairs/2], "with/without")
	b.ReportMetric(ratios[0], "least")
	b.ReportMetric(without[pairs/2], unit+"-without")
	b.ReportMetric(with[pairs/2], unit+"-with")
	b.ReportMetric(0, "ns/op")
}

// drain receives and forgets what the gateway's queues have, in naps as a worker takes.
func (s *site) drain(g *Gateway) (stop func()) {
	r := s.read(g)
	return r.end
}

// BenchmarkGatewayThroughput sends on one connection through the box.
func BenchmarkGatewayThroughput(b *testing.B) {
	s := newSite(b)
	at := s.sink()
	for b.Loop() {
		paired(b, s, "Gbit/s", func() float64 { return s.send(at) * 8 / 1e9 })
	}
}

// sink takes whatever comes.
func (s *site) sink() netip.AddrPort { return s.Serve(0)[0] }

// send returns the octets a second that one connection carries.
func (s *site) send(at netip.AddrPort) float64 {
	var octets int
	began := time.Now()
	s.In(s.Client, func() error {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			return err
		}
		defer c.Close()
		buffer := make([]byte, 256<<10)
		for time.Since(began) < runTime {
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
	s := newSite(b)
	at := s.Serve(1000)
	for b.Loop() {
		paired(b, s, "conn/s", func() float64 {
			t := s.StartTraffic(at, 100, 1000, 0)
			time.Sleep(runTime)
			t.Stop()
			if t.Failure != nil {
				b.Fatal(t.Failure)
			}
			return float64(t.Count) / runTime.Seconds()
		})
	}
}

// BenchmarkGatewayFlood forwards SYNs at the generator's full rate.
func BenchmarkGatewayFlood(b *testing.B) {
	s := newSite(b)
	for b.Loop() {
		paired(b, s, "SYN/s", s.flood)
	}
}

// flood returns the share of the generator's SYNs that the box forwards.
func (s *site) flood() float64 {
	s.tb.Helper()
	var to net.HardwareAddr
	s.In(s.Box, func() error { return gatewaytest.Hardware(lan, func(a net.HardwareAddr) { to = a }) })
	var receiver *generator.Receiver
	s.In(s.Box, func() (err error) {
		receiver, err = generator.Deliver(lan)
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
	s.In(s.Box, func() (err error) { before, err = gatewaytest.Statistics(wan); return err })
	ctx, cancel := context.WithTimeout(context.Background(), runTime)
	defer cancel()
	run, err := g.Fill(ctx, 0)
	if err != nil && ctx.Err() == nil {
		s.tb.Fatal(err)
	}
	if run.Counts.Kinds[generator.SYN] != run.Counts.Made {
		s.tb.Fatal(fmt.Errorf("%d frames, of which %d SYNs", run.Counts.Made, run.Counts.Kinds[generator.SYN]))
	}
	s.In(s.Box, func() (err error) { after, err = gatewaytest.Statistics(wan); return err })
	return float64(after.TxPackets-before.TxPackets) / run.Took.Seconds()
}
