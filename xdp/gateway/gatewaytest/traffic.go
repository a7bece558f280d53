package gatewaytest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/finwait/finwait/xdp/netns"
)

// Exchange opens a connection, sends octets there, closes, and reads as many back.
func Exchange(server netip.AddrPort, there, back int) error {
	c, err := net.DialTimeout("tcp", server.String(), 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, there)); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, c)
	if err == nil && n != int64(back) {
		return fmt.Errorf("%d octets came back, not %d", n, back)
	}
	return err
}

// Serve answers every connection, once its client has closed, with so many octets.
func (s *Site) Serve(back int) (at []netip.AddrPort) {
	s.tb.Helper()
	for _, f := range Families {
		var l net.Listener
		s.In(s.Server, func() (err error) {
			l, err = net.Listen("tcp", netip.AddrPortFrom(f.Server, 0).String())
			return err
		})
		s.tb.Cleanup(func() { _ = l.Close() })
		at = append(at, l.Addr().(*net.TCPAddr).AddrPort())
		go Answer(l, back)
	}
	return at
}

// Answer answers every connection of a listener, once its client has closed, with so many
// octets, until the listener is closed.
func Answer(l net.Listener, back int) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := io.Copy(io.Discard, c); err == nil {
				_, _ = c.Write(make([]byte, back))
			}
		}()
	}
}

// Traffic is connections that go on, one after the other, until they are stopped.
type Traffic struct {
	site    *Site
	stop    chan struct{}
	done    sync.WaitGroup
	mutex   sync.Mutex
	Count   int           // of connections that ended
	Longest time.Duration // that one of them took
	Failure error         // of all that failed
}

// StartTraffic has four clients exchange octets with servers in turn, each after a
// pause.
func (s *Site) StartTraffic(at []netip.AddrPort, there, back int, pause time.Duration) *Traffic {
	t := &Traffic{site: s, stop: make(chan struct{})}
	for i := range 4 {
		t.done.Go(func() {
			runtime.LockOSThread() // it ends with the thread
			if err := netns.Enter(s.Client); err != nil {
				s.tb.Error(err)
				return
			}
			for n := i; ; n++ {
				select {
				case <-t.stop:
					return
				default:
				}
				began := time.Now()
				err := Exchange(at[n%len(at)], there, back)
				t.mutex.Lock()
				t.Count++
				t.Longest = max(t.Longest, time.Since(began))
				t.Failure = errors.Join(t.Failure, err)
				t.mutex.Unlock()
				time.Sleep(pause)
			}
		})
	}
	return t
}

// Stop lets the connections that are open end, and opens no more.
func (t *Traffic) Stop() {
	close(t.stop)
	t.done.Wait()
}

// Repeat is the least time in which TCP repeats a SYN (RFC 6298 section 2.1).
const Repeat = time.Second

// End is Stop: not one connection may have failed, or taken longer than it may.
func (t *Traffic) End(tb testing.TB, longest time.Duration) {
	tb.Helper()
	t.Stop()
	if t.Failure != nil {
		tb.Errorf("connections failed: %v", t.Failure)
	}
	if t.Longest >= longest {
		tb.Errorf("a connection took %v; %s", t.Longest, t.site.losses())
	}
	if t.Count == 0 {
		tb.Error("there was no traffic")
	}
	tb.Logf("%d connections, the longest took %v", t.Count, t.Longest)
}
