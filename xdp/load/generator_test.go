package load

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/lab"
)

// step is 200 connections, of which 150 are measured.
var step = Rate{PerSecond: 500, WarmUp: 100 * time.Millisecond, Duration: 300 * time.Millisecond}

const (
	stepConnections = 200
	stepMeasured    = 150
)

func run(t *testing.T, c Config, r Rate) Counts {
	t.Helper()
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	var window Window
	counts, err := g.Run(t.Context(), r, func(w Window) { window = w })
	if err != nil {
		t.Fatal(err)
	}
	if time.Duration(window.To-window.From) != r.Duration {
		t.Errorf("measured %d ns, expected %v", window.To-window.From, r.Duration)
	}
	requireWhole(t, &counts)
	if left := clientSockets(t); left != 0 {
		t.Errorf("%d sockets are left", left)
	}
	if open := g.shared.open.Load(); open != 0 {
		t.Errorf("%d connections are open", open)
	}
	return counts
}

// requireWhole checks that every connection that was offered came to one end.
func requireWhole(t *testing.T, c *Counts) {
	t.Helper()
	sum := c.Closed + c.Missed
	for _, n := range c.Failures {
		sum += n
	}
	if sum != c.Offered {
		t.Errorf("%d of %d connections have an end: %+v", sum, c.Offered, c)
	}
}

func TestEnds(t *testing.T) {
	s := newSite(t)
	request := func(c *Config) { c.Send = []byte("hello") }
	expect := func(c *Config) { c.Send, c.Expect = []byte("hello"), 6 }
	hold := func(c *Config) { c.Hold = 20 * time.Millisecond }
	long := func(c *Config) { c.Hold = 5 * time.Second }
	short := func(c *Config) { c.Timeout = 300 * time.Millisecond }
	for name, c := range map[string]struct {
		close  Close
		serve  func(*net.TCPConn, <-chan struct{})
		change []func(*Config)
		fails  bool
		reason Failure
	}{
		"client":                         {close: ByClient, serve: untilFIN},
		"client after a hold":            {close: ByClient, serve: untilFIN, change: []func(*Config){hold}},
		"client after a request":         {close: ByClient, serve: untilFIN, change: []func(*Config){request}},
		"client after an answer":         {close: ByClient, serve: answer, change: []func(*Config){expect, hold}},
		"client in two threads":          {close: ByClient, serve: untilFIN, change: []func(*Config){func(c *Config) { c.Threads = 2 }}},
		"server":                         {close: ByServer, serve: atOnce},
		"server after a request":         {close: ByServer, serve: answerAndClose, change: []func(*Config){expect}},
		"server after a request held":    {close: ByServer, serve: answerAndClose, change: []func(*Config){expect, hold}},
		"reset":                          {close: ByReset, serve: untilFIN},
		"reset after a hold":             {close: ByReset, serve: untilFIN, change: []func(*Config){hold}},
		"reset after an answer":          {close: ByReset, serve: answer, change: []func(*Config){expect}},
		"server closes too early":        {close: ByClient, serve: atOnce, change: []func(*Config){long}, fails: true, reason: EarlyClose},
		"server closes without answer":   {close: ByServer, serve: atOnce, change: []func(*Config){expect}, fails: true, reason: EarlyClose},
		"server resets":                  {close: ByServer, serve: reset, fails: true, reason: Reset},
		"server does not answer":         {close: ByClient, serve: silent, change: []func(*Config){expect, short}, fails: true, reason: AnswerTimeout},
		"server does not close":          {close: ByServer, serve: silent, change: []func(*Config){short}, fails: true, reason: CloseTimeout},
		"server does not close its half": {close: ByClient, serve: silent, change: []func(*Config){short}, fails: true, reason: CloseTimeout},
	} {
		addresses := []string{serverAddress}
		if name == c.close.String() {
			addresses = append(addresses, serverIPv6)
		}
		for _, address := range addresses {
			t.Run(name+" "+address, func(t *testing.T) {
				served := &site{s.Network, t}
				config := s.config(served.serve(address, c.serve))
				config.Close = c.close
				for _, change := range c.change {
					change(&config)
				}
				counts := run(t, config, step)
				if counts.Opened != stepConnections && !counts.Abandoned || counts.Offered != stepMeasured && !counts.Abandoned {
					t.Errorf("%d connections were opened, %d measured", counts.Opened, counts.Offered)
				}
				if !c.fails {
					if counts.Closed != counts.Offered || counts.Established != counts.Offered || counts.Failed() != 0 {
						t.Errorf("%+v", counts)
					}
				} else if counts.Closed != 0 || counts.Failures[c.reason] == 0 || counts.Failures[c.reason]+counts.Failures[ConnectTimeout] != counts.Failed() {
					// A stalled machine may let SYNs wait as well.
					t.Errorf("expected %v alone: %+v", c.reason, counts)
				}
			})
		}
	}
}

// A target that nobody reaches ends the step early and says why.
func TestHopeless(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct {
		target netip.AddrPort
		reason Failure
	}{
		"closed port": {s.closedPort(), Refused},
		"black hole":  {netip.MustParseAddrPort(ghostAddress + ":80"), ConnectTimeout},
		"no route":    {netip.MustParseAddrPort(farAddress + ":80"), Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			config := s.config(c.target)
			config.Timeout = 300 * time.Millisecond
			counts := run(t, config, Rate{PerSecond: 1000, Duration: time.Minute})
			if !counts.Abandoned || counts.Failures[c.reason] < hopeless || counts.Failures[c.reason] != counts.Failed() {
				t.Errorf("%+v", counts)
			}
			early := run(t, config, Rate{PerSecond: 1000, WarmUp: time.Minute, Duration: time.Minute})
			if !early.Abandoned || early.Offered != 0 || early.AllFailures[c.reason] < hopeless || early.FailureRatio() != 1 || early.Measured != 0 {
				t.Errorf("in the warm-up: %+v", early)
			}
			if counts.Measured <= 0 || counts.Measured > 30*time.Second || counts.FailureRatio() != 1 {
				t.Errorf("measured for %v, failure ratio %v", counts.Measured, counts.FailureRatio())
			}
		})
	}
}

// A backlog that is full leaves SYNs without an answer.
func TestSmallBacklog(t *testing.T) {
	s := newSite(t)
	config := s.config(s.backlog(1))
	config.Timeout = 300 * time.Millisecond
	counts := run(t, config, Rate{PerSecond: 100, Duration: 500 * time.Millisecond})
	if counts.Established == 0 || counts.Established > 3 || counts.Failures[ConnectTimeout] != counts.Offered-counts.Established {
		t.Errorf("%+v", counts)
	}
}

// Our own limits are told apart from the target's.
func TestOwnLimits(t *testing.T) {
	s := newSite(t)
	s.keepTimeWait()
	target := s.serve(serverAddress, untilFIN)
	t.Run("slots", func(t *testing.T) {
		config := s.config(target)
		config.MaxConcurrent, config.Hold = 10, 2*time.Second // none closes within the step
		counts := run(t, config, step)
		// A slot is taken from the SYN on, so fewer may be established at once.
		if counts.Failures[NoSlot] == 0 || counts.Failed() != 0 || counts.Opened != 10 || counts.Peak > 10 || counts.Mean > float64(counts.Peak) {
			t.Errorf("%+v", counts)
		}
	})
	t.Run("ports", func(t *testing.T) {
		config := s.config(target)
		config.LowPort, config.HighPort = 60001, 60020
		counts := run(t, config, step) // 20 tuples stay in TIME-WAIT
		if counts.Failures[NoLocalPort] == 0 || counts.Failed() != 0 || counts.Opened != 20 {
			t.Errorf("%+v", counts)
		}
	})
	t.Run("ports where the server closes", func(t *testing.T) {
		config := s.config(s.serve(serverAddress, atOnce))
		config.LowPort, config.HighPort, config.Close = 60101, 60150, ByServer
		// No port stays in TIME-WAIT, so each can be had again.
		if counts := run(t, config, step); counts.Opened <= 50 || counts.Failed() != 0 {
			t.Errorf("%+v", counts)
		}
	})
	t.Run("sources", func(t *testing.T) {
		config := s.config(target)
		config.LowPort, config.HighPort = 60401, 60500
		config.Sources = append(config.Sources, netip.MustParseAddr("198.18.0.77"))
		counts := run(t, config, step) // the second is not ours
		if counts.Failures[NoLocalPort] == 0 || counts.Opened == 0 || counts.Opened > 100 {
			t.Errorf("%+v", counts)
		}
	})
}

// The mean and the peak of connections that are held for a known time.
func TestConcurrency(t *testing.T) {
	s := newSite(t)
	config := s.config(s.serve(serverAddress, untilFIN))
	config.Hold = 200 * time.Millisecond
	counts := run(t, config, Rate{PerSecond: 200, WarmUp: 400 * time.Millisecond, Duration: 500 * time.Millisecond})
	if counts.Mean < 39 || counts.Peak < 39 || float64(counts.Peak) < counts.Mean {
		t.Errorf("mean %v and peak %d of connections held for 200 ms at 200/s", counts.Mean, counts.Peak)
	}
}

// A step that is ended from outside leaves nothing behind, and another can be
// run.
func TestInterruption(t *testing.T) {
	s := newSite(t)
	config := s.config(s.serve(serverAddress, untilFIN))
	config.Hold, config.Threads = time.Minute, 2
	g, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	go func() {
		for g.shared.open.Load() < 20 {
			time.Sleep(time.Millisecond)
		}
		if clientSockets(t) == 0 {
			t.Error("the check for sockets does not find those that are open")
		}
		cancel(stopped)
	}()
	counts, err := g.Run(ctx, Rate{PerSecond: 1000, Duration: time.Minute}, func(Window) {})
	if !errors.Is(err, stopped) || counts.Failures[Interrupted] < 20 || counts.Abandoned {
		t.Errorf("%v, %+v", err, counts)
	}
	requireWhole(t, &counts)
	if left := clientSockets(t); left != 0 {
		t.Errorf("%d sockets are left", left)
	}
	g.config.Hold = 0
	for _, thread := range g.threads {
		thread.holds.wait = 0
	}
	if counts, err = g.Run(t.Context(), step, func(Window) {}); err != nil || counts.Closed != stepMeasured {
		t.Errorf("%v, %+v", err, counts)
	}
}

// Once it runs, a thread allocates nothing for a connection.
func TestConnectionsDoNotAllocate(t *testing.T) {
	s := newSite(t)
	c := s.config(s.backlog(200)) // a server in this process would allocate
	c.Close, c.Within, c.Sources = ByReset, nil, []netip.Addr{netip.MustParseAddr(clientAddress)}
	err := s.Do(lab.Client, func() error {
		var common shared
		thread, err := newThread(&c, &common, 20000, 1000, 10)
		if err != nil {
			return err
		}
		if thread.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			return err
		}
		defer func() { _ = unix.Close(thread.epoll) }()
		thread.start(plan{window: Window{0, 1 << 62}, interval: 1e18, strides: 1})
		if allocated := testing.AllocsPerRun(100, func() {
			now := monotonic()
			thread.open(true, now)
			for thread.used > 0 {
				n, err := thread.poll(thread.pause(now))
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					thread.handle(&thread.events[i], now)
				}
			}
		}); allocated != 0 {
			t.Errorf("%v allocations for a connection", allocated)
		}
		if thread.counts.Closed != 101 {
			t.Errorf("%+v", thread.counts)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewRejects(t *testing.T) {
	valid := Config{
		Target: netip.MustParseAddrPort("198.18.0.2:80"), Sources: []netip.Addr{netip.MustParseAddr("198.18.0.1")},
		LowPort: 1, HighPort: 100, Timeout: time.Second, MaxConcurrent: 10, Threads: 2,
	}
	if _, err := New(valid); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"no target":                     func(c *Config) { c.Target = netip.AddrPort{} },
		"port 0":                        func(c *Config) { c.Target = netip.AddrPortFrom(c.Target.Addr(), 0) },
		"multicast":                     func(c *Config) { c.Target = netip.MustParseAddrPort("[ff02::1]:80") },
		`"239.0.0.1:80"`:                func(c *Config) { c.Target = netip.MustParseAddrPort("239.0.0.1:80") },
		"broadcast":                     func(c *Config) { c.Target = netip.MustParseAddrPort("255.255.255.255:80") },
		"unspecified":                   func(c *Config) { c.Target = netip.MustParseAddrPort("0.0.0.0:80") },
		"one source":                    func(c *Config) { c.Sources = nil },
		`source "fd00::1"`:              func(c *Config) { c.Sources = []netip.Addr{netip.MustParseAddr("fd00::1")} },
		"source ports 0":                func(c *Config) { c.LowPort = 0 },
		"source ports 101 to 100":       func(c *Config) { c.LowPort = 101 },
		"close 9":                       func(c *Config) { c.Close = 9 },
		"request of 65537 octets":       func(c *Config) { c.Send = make([]byte, 65537) },
		"expected answer of 1 octets":   func(c *Config) { c.Expect = 1 },
		"hold -1s":                      func(c *Config) { c.Hold = -time.Second },
		"only a request can be held":    func(c *Config) { c.Close, c.Hold = ByServer, time.Second },
		"timeout 0s":                    func(c *Config) { c.Timeout = 0 },
		"threads 0":                     func(c *Config) { c.Threads = 0 },
		"threads 65":                    func(c *Config) { c.Threads, c.MaxConcurrent = 65, 100 },
		"max concurrent connections 1:": func(c *Config) { c.MaxConcurrent = 1 },
		"ulimit -n":                     func(c *Config) { c.MaxConcurrent = maxConcurrent },
		"1 to 1 for 2 threads":          func(c *Config) { c.HighPort, c.Sources = 1, append(c.Sources, c.Sources...) },
		"1 source ports for 2 threads":  func(c *Config) { c.HighPort = 1 },
	} {
		c := valid
		change(&c)
		if strings.Contains(want, "ulimit") {
			var limit unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > maxConcurrent+otherDescriptors {
				continue
			}
		}
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, expected %q", c, err, want)
		}
	}
}

func TestRunRejects(t *testing.T) {
	g, err := New(Config{
		Target: netip.MustParseAddrPort("198.18.0.2:80"), Sources: []netip.Addr{netip.MustParseAddr("198.18.0.1")},
		LowPort: 1, HighPort: 100, Timeout: time.Second, MaxConcurrent: 10, Threads: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	for want, r := range map[string]Rate{
		"rate 0":      {Duration: time.Second},
		"rate 2e+07":  {PerSecond: 2e7, Duration: time.Second},
		"duration 0s": {PerSecond: 1},
		"warm-up -1s": {PerSecond: 1, WarmUp: -time.Second, Duration: time.Second},
	} {
		if _, err := g.Run(t.Context(), r, func(Window) { t.Error("a wrong step was begun") }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
