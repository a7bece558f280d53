package gateway

import (
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
)

const (
	lan = gatewaytest.LAN
	wan = gatewaytest.WAN
)

// site is a box between a client and a server, for gateways to be opened in.
type site struct {
	*gatewaytest.Site
	tb testing.TB
}

func newSite(tb testing.TB) *site {
	tb.Helper()
	return &site{gatewaytest.New(tb), tb}
}

// open opens a gateway in the box, and has its queues read until the test ends.
func (s *site) open(c Config) *Gateway {
	s.tb.Helper()
	if len(c.Interfaces) == 0 {
		c.Interfaces = []string{lan, wan}
	}
	if c.MaxFlows == 0 {
		c.MaxFlows = 1 << 16
	}
	var g *Gateway
	s.In(s.Box, func() (err error) {
		g, err = Open(c)
		return err
	})
	s.tb.Cleanup(func() {
		if err := g.Close(); err != nil {
			s.tb.Error(err)
		}
	})
	return g
}

// reader takes what a gateway's queues have.
type reader struct {
	segments []segment.Segment
	stop     chan struct{}
	done     sync.WaitGroup
	mutex    sync.Mutex
}

// read starts a reader, which ends before the gateway does.
func (s *site) read(g *Gateway) *reader {
	r := &reader{stop: make(chan struct{})}
	for _, q := range g.Queues() {
		r.done.Go(func() {
			var batch [64]*segment.Segment
			for {
				n, err := q.Receive(batch[:], 5*time.Millisecond)
				if err != nil {
					s.tb.Error(err)
					return
				}
				r.mutex.Lock()
				for _, one := range batch[:n] {
					r.segments = append(r.segments, *one)
				}
				r.mutex.Unlock()
				select {
				case <-r.stop:
					if n == 0 {
						return
					}
				default:
				}
			}
		})
	}
	s.tb.Cleanup(r.end)
	return r
}

// end stops the reader once nothing comes any more.
func (r *reader) end() {
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	r.done.Wait()
}

// ledger is the gateway's, by "stage interface reason", or without the interface
// where all of them are summed up.
func ledger(g *Gateway) map[string]uint64 {
	all := make(map[string]uint64)
	for _, c := range g.Ledger() {
		all[c.Stage+" "+c.Reason] += c.Value
		all[c.Stage+" "+c.Interface+" "+c.Reason] += c.Value
	}
	return all
}

// leftBehind lists what there is of finwait's in the calling thread's namespace.
func leftBehind() (left []string, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		name := l.Attrs().Name
		programs, err := attachedPrograms(l.Attrs().Index)
		if err != nil {
			return nil, err
		}
		for _, p := range programs {
			left = append(left, "program at "+name+": "+p)
		}
		qdiscs, err := netlink.QdiscList(l)
		if err != nil {
			return nil, err
		}
		for _, q := range qdiscs {
			if q.Type() == clsact {
				left = append(left, "qdisc at "+name)
			}
		}
	}
	return left, nil
}

// clean waits until nothing of finwait's is left in the box.
func (s *site) clean(patience time.Duration) {
	s.tb.Helper()
	var left []string
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		s.In(s.Box, func() (err error) {
			left, err = leftBehind()
			return err
		})
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Errorf("left behind: %q", left)
			return
		}
	}
}
