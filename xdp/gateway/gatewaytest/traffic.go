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
	witness *Witness // nil for none
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
	return s.startTraffic(at, there, back, pause, nil)
}

// StartWitnessed is StartTraffic of which every segment has to arrive.
func (s *Site) StartWitnessed(at []netip.AddrPort, there, back int, pause time.Duration) *Traffic {
	s.tb.Helper()
	return s.startTraffic(at, there, back, pause, s.Witness())
}

func (s *Site) startTraffic(at []netip.AddrPort, there, back int, pause time.Duration, w *Witness) *Traffic {
	t := &Traffic{site: s, witness: w, stop: make(chan struct{})}
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

// Ended is how many connections have ended so far.
func (t *Traffic) Ended() int {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.Count
}

// End is Stop: not one connection may have failed, and of witnessed traffic every
// segment must have arrived. How long a connection took decides nothing: on a busy machine
// Linux, as seen with 6.18, lets a SYN that has reached its listener pass without an answer
// and without counting it, also where the box only forwards.
func (t *Traffic) End(tb testing.TB) {
	tb.Helper()
	t.Stop()
	if t.Failure != nil {
		tb.Errorf("connections failed: %v; %s", t.Failure, t.site.losses())
	}
	if t.witness != nil {
		if err := t.witness.Missing(); err != nil {
			tb.Errorf("the box has lost segments: %v; %s", err, t.site.losses())
		}
	}
	if t.Count == 0 {
		tb.Error("there was no traffic")
	}
	tb.Logf("%d connections, the longest took %v; %s", t.Count, t.Longest, t.site.losses())
}
