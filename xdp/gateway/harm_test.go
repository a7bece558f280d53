package gateway

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
)

// childVariable makes this binary a gateway in the namespace that it is started in.
const childVariable = "FINWAIT_TEST_GATEWAY"

func TestMain(m *testing.M) {
	if how := os.Getenv(childVariable); how != "" {
		if err := child(how == modeClassic); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child measures until it is interrupted.
func child(classic bool) error {
	g, err := Open(Config{Interfaces: []string{lan, wan}, MaxFlows: 1 << 12, RingSize: 64, classic: classic})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fmt.Println("ready")
	var batch [64]*segment.Segment
	for ctx.Err() == nil {
		if _, err := g.Queues()[0].Receive(batch[:], 10*time.Millisecond); err != nil {
			return err
		}
	}
	return g.Close()
}

// start runs a gateway in a process of its own, and returns when it measures.
func (s *site) start(mode string) *exec.Cmd {
	s.tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.tb.Fatal(err)
	}
	s.In(s.Box, cmd.Start) // it is in the namespace of the thread that starts it
	s.tb.Cleanup(func() { _ = cmd.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		s.tb.Fatalf("a gateway says %q: %v", line, err)
	}
	return cmd
}

// pause is how long each of four clients rests between two connections.
const pause = 2 * time.Millisecond

// traffic is witnessed, but for filters of tc: the kernel takes an interface's queues
// away for a moment when it gets or loses their qdisc (qdisc_graft in
// net/sched/sch_api.c), and what would leave just then is lost, and repeated.
func (s *site) traffic(mode string, at []netip.AddrPort) *gatewaytest.Traffic {
	if mode == modeClassic {
		return s.StartTraffic(at, 5000, 5000, pause)
	}
	return s.StartWitnessed(at, 5000, 5000, pause)
}

// TestKilled: a gateway that is killed leaves nothing behind that does harm, and
// nothing at all after the next start.
func TestKilled(t *testing.T) {
	for _, mode := range []string{modeTCX, modeClassic} {
		t.Run(mode, func(t *testing.T) {
			s := newSite(t)
			at := s.Serve(5000)
			traffic := s.traffic(mode, at)
			cmd := s.start(mode)
			time.Sleep(100 * time.Millisecond)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			time.Sleep(100 * time.Millisecond)
			if mode == modeTCX {
				s.clean(5 * time.Second)
			}
			g := s.open(Config{MaxFlows: 1 << 12, Interfaces: []string{lan}})
			if err := g.Close(); err != nil {
				t.Error(err)
			}
			traffic.End(t)
			s.clean(5 * time.Second)
		})
	}
}

// TestStopped: a gateway that hangs holds nobody up, and says what it lost.
func TestStopped(t *testing.T) {
	s := newSite(t)
	at := s.Serve(5000)
	cmd := s.start(modeTCX)
	traffic := s.traffic(modeTCX, at)
	time.Sleep(200 * time.Millisecond)
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := traffic.Ended()
	time.Sleep(stopFor())
	if n := traffic.Ended() - before; n == 0 {
		t.Error("not one connection ended while the gateway hung")
	}
	if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	traffic.End(t)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("a gateway that was stopped for a while: %v", err)
	}
	s.clean(time.Second)
}

// stopFor is ten seconds where nobody waits for it, and long enough for the ring to
// fill otherwise.
func stopFor() time.Duration {
	if thorough() > 0 {
		return 10 * time.Second
	}
	return 700 * time.Millisecond
}

// TestRingFull: of what nobody takes the ring holds its fill; the rest is counted.
func TestRingFull(t *testing.T) {
	s := newSite(t)
	at := s.Serve(1000)
	g := s.open(Config{RingSize: 64})
	traffic := s.StartWitnessed(at, 1000, 1000, pause)
	time.Sleep(500 * time.Millisecond)
	traffic.End(t)
	r := s.read(g)
	r.end()
	s.balanced(g, r)
	c := ledger(g)
	full := c["ingress ring_full"] + c["egress ring_full"]
	if full == 0 || len(r.segments) < 64 {
		t.Errorf("%d segments were taken late, %d found no room", len(r.segments), full)
	}
	if lost, err := g.Queues()[0].Lost(); err != nil || lost != full {
		t.Errorf("%d segments are said to be lost, %d found no room: %v", lost, full, err)
	}
}

// thoroughVariable is how many starts and stops there are in a row; see make gateway.
const thoroughVariable = "FINWAIT_TEST_STARTS"

func thorough() int {
	n, _ := strconv.Atoi(os.Getenv(thoroughVariable))
	return n
}

// TestStarts starts and stops under load, again and again.
func TestStarts(t *testing.T) {
	for _, mode := range []string{modeTCX, modeClassic} {
		t.Run(mode, func(t *testing.T) {
			s := newSite(t)
			at := s.Serve(5000)
			traffic := s.traffic(mode, at)
			for range max(thorough(), 2) {
				g := s.open(Config{MaxFlows: 1 << 10, RingSize: 1024, classic: mode == modeClassic})
				r := s.read(g)
				time.Sleep(30 * time.Millisecond)
				r.end()
				if err := g.Close(); err != nil {
					t.Fatal(err)
				}
				s.clean(0)
			}
			traffic.End(t)
		})
	}
}
