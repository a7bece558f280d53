package conntrack

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/xdp/lab"
)

// connectors open connections at once.
const connectors = 4

// BenchmarkConnections is a connection through a gateway that masquerades, opened
// and reset, with a Listener there and without: what the kernel's reports cost.
func BenchmarkConnections(b *testing.B) {
	requireRoot(b)
	for _, listening := range []bool{false, true} {
		name := "alone"
		if listening {
			name = "listening"
		}
		b.Run(name, func(b *testing.B) { benchmarkConnections(b, listening) })
	}
}

func benchmarkConnections(b *testing.B, listening bool) {
	network, err := lab.BuildGateway(lab.Masquerade)
	if err != nil {
		b.Fatal(err)
	}
	defer network.Close()
	if listening {
		var l *Listener
		if err := network.Do(lab.Gateway, func() (err error) {
			l, err = Open(Config{Room: 1 << 18})
			return err
		}); err != nil {
			b.Fatal(err)
		}
		defer func() {
			b.ReportMetric(float64(l.Stats().Reports.Load())/float64(b.N), "reports/op")
			b.ReportMetric(float64(l.Stats().Overruns.Load()), "overruns")
			_ = l.Close()
		}()
	}
	var server net.Listener
	if err := network.Do(lab.Server, func() (err error) {
		server, err = net.Listen("tcp4", address(b)+":7100")
		return err
	}); err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = c.Read(make([]byte, 1)) // until it is reset
				_ = c.Close()
			}()
		}
	}()
	turns := make(chan struct{}, b.N)
	for range b.N {
		turns <- struct{}{}
	}
	close(turns)
	b.ResetTimer()
	var all sync.WaitGroup
	for range connectors {
		all.Go(func() {
			_ = network.Do(lab.Client, func() error {
				for range turns {
					c, err := net.Dial("tcp4", server.Addr().String())
					if err != nil {
						b.Error(err)
						return err
					}
					_ = c.(*net.TCPConn).SetLinger(0)
					_ = c.Close()
				}
				return nil
			})
		})
	}
	all.Wait()
	b.StopTimer()
}

// address is the IPv4 address of the calling thread's namespace.
func address(b *testing.B) string {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		b.Fatal(err)
	}
	for _, a := range addresses {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && !ip.IsLoopback() {
			return ip.String()
		}
	}
	b.Fatal("the namespace has no address")
	return ""
}
