package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/xdp/lab"
	"github.com/finwait/finwait/xdp/load"
)

// The laboratory's hosts.
const (
	labClient = "198.18.0.1"
	labServer = "198.18.0.2"
)

// serve has every connection served in the server's namespace, and tells how
// many are being served.
func (s *site) serve(address string, serve func(*net.TCPConn)) (string, *atomic.Int64) {
	s.t.Helper()
	var listener net.Listener
	s.do(lab.Server, func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
		return err
	})
	serving, served := &atomic.Int64{}, sync.WaitGroup{}
	served.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Add(1)
			served.Go(func() {
				defer serving.Add(-1)
				serve(c.(*net.TCPConn))
				_ = c.Close()
			})
		}
	})
	s.t.Cleanup(func() {
		_ = listener.Close()
		served.Wait()
	})
	return listener.Addr().String(), serving
}

const applicationDelay = 30 * time.Millisecond

// afterFIN closes as the second, with a delay that is the application's.
func afterFIN(c *net.TCPConn) {
	_, _ = io.Copy(io.Discard, c)
	time.Sleep(applicationDelay)
}

// afterRequest closes as the first, once it has a request of HTTP/1.0.
func afterRequest(c *net.TCPConn) {
	var request []byte
	for octet := make([]byte, 1); !bytes.HasSuffix(request, []byte("\r\n\r\n")); request = append(request, octet...) {
		if _, err := c.Read(octet); err != nil {
			return
		}
	}
	_, _ = c.Write([]byte("HTTP/1.0 200 OK\r\n\r\nhello"))
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

// connections runs the benchmark in the client's namespace.
func (s *site) connections(binary string, args ...string) (results map[string]map[string]float64, stdout, stderr string) {
	s.t.Helper()
	var out, said bytes.Buffer
	cmd := exec.Command(binary, append([]string{"bench", "connections", "--warm-up", "100ms", "--step-duration", "500ms", "--format", "json"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &said
	s.do(lab.Client, cmd.Start)
	if err := cmd.Wait(); err != nil {
		s.t.Fatalf("%v: %s", err, said.String())
	}
	var r struct {
		Results []struct {
			Name    string
			Metrics []struct {
				Value float64
				Unit  string
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		s.t.Fatalf("%v: %s", err, out.String())
	}
	results = map[string]map[string]float64{}
	for _, result := range r.Results {
		metrics := map[string]float64{}
		for _, m := range result.Metrics {
			metrics[m.Unit] = m.Value
		}
		results[result.Name] = metrics
	}
	return results, out.String(), said.String()
}

// Every connection that was opened is seen, and each wave is told apart.
func TestBenchConnections(t *testing.T) {
	s := newSite(t, 1)
	binary := buildBinary(t)
	waits, _ := s.serve(labServer, afterFIN)
	answers, _ := s.serve("2001:2::2", afterRequest)
	page := filepath.Join(t.TempDir(), "page")
	for close, c := range map[string]struct {
		args  []string
		kinds []string
		check func(t *testing.T, at func(wave, point string) float64, m map[string]float64)
	}{
		"client": {[]string{"--target", waits, "--report", page}, []string{"four_way"}, func(t *testing.T, at func(wave, point string) float64, _ map[string]float64) {
			// A sleep is never shorter than it should be, and lies behind FIN1.
			if at("teardown", "p50") < 0.99*float64(applicationDelay) || at("close_wait", "max") == 0 {
				t.Errorf("the application's delay is not in the teardown: %v", at("teardown", "p50"))
			}
		}},
		"server": {[]string{"--target", answers, "--send", `GET / HTTP/1.0\r\n\r\n`}, []string{"four_way", "three_way"}, func(t *testing.T, at func(wave, point string) float64, _ map[string]float64) {
			if at("close_wait", "p50") > at("teardown", "p50") || at("last_ack", "max") == 0 {
				t.Errorf("close_wait %v, last_ack %v, teardown %v", at("close_wait", "p50"), at("last_ack", "max"), at("teardown", "p50"))
			}
		}},
		"reset": {[]string{"--target", waits, "--hold", "50ms", "--threads", "2"}, []string{"reset"}, func(t *testing.T, at func(wave, point string) float64, m map[string]float64) {
			if at("teardown", "p50") != 0 || m["open-mean"] < 9 || m["open-peak"] < 9 {
				t.Errorf("%v", m)
			}
		}},
	} {
		t.Run(close, func(t *testing.T) {
			// What this machine is too late for is no one's failure here.
			results, stdout, stderr := s.connections(binary, append(c.args, "--close", close, "--rate", "200")...)
			step := "Connections/close=" + close + "/rate=200"
			m, wire := results[step], results[step+"/wire"]
			if wire["opened"] != 120 || wire["seen"] != 120 || wire["lost-on-this-machine"] != 0 || m["%failed"] != 0 || m["offered/s"] != 200 {
				t.Fatalf("%s%s", stdout, stderr)
			}
			ended := 0.0
			for unit, n := range wire {
				if kind, found := strings.CutPrefix(unit, "close-kind-"); found {
					if ended += n; !slices.Contains(c.kinds, kind) {
						t.Errorf("%v connections ended as %q", n, kind)
					}
				}
			}
			// A SYN may leave after the measured time in which it was due.
			if ended < 50 || ended > 120 || results[step+"/wave=server_handshake"]["ns/p50"] == 0 || results[step+"/wave=client_handshake"]["ns/p50"] == 0 {
				t.Errorf("%v of 100 measured connections ended: %s", ended, stdout)
			}
			c.check(t, func(wave, point string) float64 { return results[step+"/wave="+wave]["ns/"+point] }, m)
			if !strings.Contains(stderr, "200/s: ") {
				t.Errorf("nothing was said of the step: %s", stderr)
			}
		})
	}
	t.Run("sources", func(t *testing.T) {
		const second = "198.18.0.3"
		s.do(lab.Client, func() error { return addAddress("client0", second+"/24") })
		// Each of the 120 tuples is needed once.
		results, stdout, _ := s.connections(binary, "--target", waits, "--rate", "200", "--source", labClient+","+second, "--ports", "30000-30059")
		step := "Connections/close=client/rate=200"
		if wire := results[step+"/wire"]; wire["opened"] != 120 || wire["seen"] != 120 || results[step+"/failures"] != nil {
			t.Error(stdout)
		}
	})
	for _, name := range []string{"index.html", "connections-rates.svg", "connections-p99.svg"} {
		if _, err := os.Stat(filepath.Join(page, name)); err != nil {
			t.Error(err)
		}
	}
}

func addAddress(name, address string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	parsed, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	return netlink.AddrAdd(link, parsed)
}

// The search ends where the target no longer does what it should, and says
// why.
func TestBenchConnectionsEnds(t *testing.T) {
	s := newSite(t, 1)
	binary := buildBinary(t)
	waits, _ := s.serve(labServer, afterFIN)
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"limit":       {[]string{"--target", waits, "--limit", "close_wait.p50=10ms"}, []string{"no rate held", "close_wait.p50=10ms: it was "}},
		"closed port": {[]string{"--target", labServer + ":9"}, []string{"no rate held", "every connection of the last 100 failed (refused)", "failed 100% (refused 1"}},
		"black hole":  {[]string{"--target", "198.18.0.9:80", "--timeout", "100ms"}, []string{"no rate held", "every connection of the last 100 failed (connect_timeout)"}},
	} {
		t.Run(name, func(t *testing.T) {
			results, stdout, stderr := s.connections(binary, append(c.args, "--rate", "300,600")...)
			if _, any := results["Connections/close=client/rate=600"]; any || results["Connections/close=client/rate=300"] == nil || results["Connections/close=client/highest"]["connections/s"] != 0 {
				t.Errorf("the search went on: %s", stdout)
			}
			for _, want := range c.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("%q was not said: %s", want, stderr)
				}
			}
		})
	}
}

// Interrupted, it lets go of every connection at once, at both ends.
func TestBenchConnectionsInterrupted(t *testing.T) {
	s := newSite(t, 1)
	binary := buildBinary(t)
	target, serving := s.serve(labServer, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	var said bytes.Buffer
	cmd := exec.Command(binary, "bench", "connections", "--target", target, "--rate", "200", "--hold", "40s", "--warm-up", "0s")
	cmd.Stderr = &said
	s.do(lab.Client, cmd.Start)
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	eventually(t, "connections", func() bool { return serving.Load() > 50 })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailure {
		t.Errorf("%v: %s", err, said.String())
	}
	if !strings.Contains(said.String(), "interrupted in repeat 1 of 1") {
		t.Errorf("it said %s", said.String())
	}
	eventually(t, "end of all connections at the server", func() bool { return serving.Load() == 0 })
	s.do(lab.Client, func() error {
		content, err := os.ReadFile("/proc/thread-self/net/tcp")
		if lines := strings.Count(string(content), "\n"); err == nil && lines > 1 {
			return fmt.Errorf("sockets are left: %s", content)
		}
		return err
	})
}

func TestBenchConnectionsRejects(t *testing.T) {
	file := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	target := []string{"--target", "127.0.0.1:80"}
	for want, args := range map[string][]string{
		"--target: name the address":            nil,
		`--target "localhost:80"`:               {"--target", "localhost:80"},
		`--target "127.0.0.1"`:                  {"--target", "127.0.0.1"},
		"port 0":                                {"--target", "127.0.0.1:0"},
		"multicast":                             {"--target", "224.0.0.1:80"},
		"the broadcast address":                 {"--target", "255.255.255.255:80"},
		"not the address of one host":           {"--target", "127.255.255.255:80"},
		"unspecified":                           {"--target", "[::]:80"},
		`argument "x"`:                          append(target, "x"),
		`--rate "fast"`:                         append(target, "--rate", "fast"),
		`--limit "p99"`:                         append(target, "--limit", "p99"),
		`--close "nobody"`:                      append(target, "--close", "nobody"),
		"reset has no teardown":                 append(target, "--close", "reset", "--limit", "p99=1s"),
		"--warm-up -1s":                         append(target, "--warm-up", "-1s"),
		"--step-duration 0s":                    append(target, "--step-duration", "0s"),
		"hold -1s":                              append(target, "--hold", "-1s"),
		"only a request can be held back":       append(target, "--hold", "1s", "--close", "server"),
		"timeout 0s":                            append(target, "--timeout", "0s"),
		"max concurrent connections 0":          append(target, "--max-concurrent", "0"),
		"100 connections would be open":         append(target, "--max-concurrent", "10", "--rate", "10", "--hold", "10s"),
		"threads 0":                             append(target, "--threads", "0"),
		"not one connection would be":           append(target, "--rate", "0.01"),
		"greatest lag 0s":                       append(target, "--max-lag", "0s"),
		`--source "10.255.255.1"`:               append(target, "--source", "10.255.255.1"),
		`--source "::1"`:                        append(target, "--source", "::1"),
		`--source "me"`:                         append(target, "--source", "me"),
		`--ports "1"`:                           append(target, "--ports", "1"),
		`--ports "2-1"`:                         append(target, "--ports", "2-1"),
		`--interface "finwait-none"`:            append(target, "--interface", "finwait-none"),
		`--send "a\\"`:                          append(target, "--send", `a\`),
		`\q is not known`:                       append(target, "--send", `\q`),
		"two hexadecimal digits":                append(target, "--send", `\xg0`),
		"no such file":                          append(target, "--send", "@/nowhere/at/all"),
		"the file has 0 octets":                 append(target, "--send", "@"+file),
		"expected answer of 5 octets":           append(target, "--expect", "5"),
		`--format "xml"`:                        append(target, "--format", "xml"),
		`limit "p99=-1s": a duration of more t`: append(target, "--limit", "p99=-1s"),
	} {
		var stdout, stderr bytes.Buffer
		status := execute(t.Context(), append([]string{"bench", "connections"}, args...), &stdout, &stderr)
		if status != exitUsage || !strings.Contains(stderr.String(), want) || stdout.Len() > 0 {
			t.Errorf("%q: status %d, expected %q: %s", args, status, want, stderr.String())
		}
	}
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "",
		"plain":                     "plain",
		`GET / HTTP/1.0\r\n\r\n`:    "GET / HTTP/1.0\r\n\r\n",
		`\0\t\\n\@\x41\xfF\x00tail`: "\x00\t\\n@A\xff\x00tail",
		`\\`:                        `\`,
		"äöü":                       "äöü",
	} {
		if got, err := unescape(text); err != nil || string(got) != want {
			t.Errorf("%q: %q (%v), expected %q", text, got, err, want)
		}
	}
}

// Of ports that return too early is warned before they do.
func TestConnectionsWarnings(t *testing.T) {
	for _, c := range []struct {
		rates    []float64
		duration time.Duration
		close    load.Close
		warned   bool
	}{
		{[]float64{10}, time.Hour, load.ByClient, false},             // each returns after 100 s
		{[]float64{10, 100}, 5 * time.Second, load.ByClient, false},  // 550 of 1000
		{[]float64{10, 100}, 10 * time.Second, load.ByClient, true},  // 1100 of 1000
		{[]float64{10, 100}, 10 * time.Second, load.ByServer, false}, // TIME-WAIT is the server's
		{[]float64{10, 100}, 10 * time.Second, load.ByReset, false},  // there is none
	} {
		b := &connectionsBench{
			config: load.Config{LowPort: 1001, HighPort: 2000, Sources: make([]netip.Addr, 1), Close: c.close},
			plan:   load.Plan{Rates: c.rates, Duration: c.duration},
		}
		if got := b.warnings(); (len(got) > 0) != c.warned {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestConclusion(t *testing.T) {
	step := func(rate float64, v load.Verdict, reasons ...string) load.Step {
		return load.Step{Rate: rate, Verdict: v, Reasons: reasons}
	}
	for want, steps := range map[string][]load.Step{
		"highest rate that held: 20 connections/s, which is the highest that was tried: the target may bear more":              {step(10, load.Held), step(20, load.Held)},
		"highest rate that held: 10 connections/s; at 20/s the target passed a limit: p99=1s: it was 2s":                       {step(10, load.Held), step(20, load.Exceeded, "p99=1s: it was 2s")},
		"highest rate that held: 10 connections/s; at 20/s this machine was the limit, not the target: the generator was late": {step(10, load.Held), step(20, load.GeneratorBound, "the generator was late")},
		"no rate held; at 10/s the target passed a limit: a; b":                                                                {step(10, load.Exceeded, "a", "b")},
	} {
		if got := conclusion(steps); got != want {
			t.Errorf("%q, expected %q", got, want)
		}
	}
}
