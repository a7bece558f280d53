package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp/generator"
	"github.com/finwait/finwait/xdp/netns"
)

// TestBenchLiveRefuses what cannot be measured, by name, before anything is set up.
func TestBenchLiveRefuses(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"extra"}, `"extra"`},
		{[]string{"--control", "0%"}, `--control "0%"`},
		{[]string{"--control", "60%"}, "at most 57%"},
		{[]string{"--control", "two"}, `--control "two"`},
		{[]string{"--connections", "0"}, "--connections 0"},
		{[]string{"--connections", "many"}, `--connections "many"`},
		{[]string{"--connections", "1000M"}, "--connections 1000M"},
		{[]string{"--rate", "quick"}, `--rate "quick"`},
		{[]string{"--rate", "0"}, `--rate "0"`},
		{[]string{"--trial", "1ms"}, "--trial 1ms"},
		{[]string{"--pulse", "1s"}, "--pulse 1s"},
		{[]string{"--resolution", "0"}, "--resolution 0"},
		{[]string{"--least", "9", "--most", "8"}, "--least 9 and --most 8"},
		{[]string{"--frame-length", "50"}, "--frame-length 50: choose 60"},
		{[]string{"--frame-length", "70", "--ipv6"}, "--frame-length 70: choose 75"},
		{[]string{"--frame-length", "9000"}, "--frame-length 9000"},
		{[]string{"--closer", "nobody"}, `--closer "nobody"`},
		{[]string{"--receiver", "tcpdump"}, `--receiver "tcpdump"`},
		{[]string{"--receiver", "drop"}, "name a --rate"},
		{[]string{"--accounting", "guess"}, `--accounting "guess"`},
		{[]string{"--transmit", "a0"}, "name both"},
		{[]string{"--transmit", "a0", "--receive", "a0"}, "two interfaces"},
		{[]string{"--exec-after", "true"}, "--exec-after"},
		{[]string{"--count", "0"}, "--count 0"},
	} {
		status, stdout, stderr := finwait(append([]string{"bench", "live"}, test.args...)...)
		if status != exitUsage || !strings.Contains(stderr, test.want) || stdout != "" {
			t.Errorf("%q: status %d, stdout %q, stderr %q", test.args, status, stdout, stderr)
		}
	}
}

// benchLive runs a small benchmark and returns its only result.
func benchLive(t *testing.T, args ...string) (map[string]float64, string) {
	t.Helper()
	needRoot(t)
	args = append([]string{"bench", "live", "--format", "json"}, args...)
	status, stdout, stderr := finwait(args...)
	if status != 0 {
		t.Fatalf("%q: status %d: %s", args, status, stderr)
	}
	var found struct {
		Results []struct {
			Name    string
			Metrics []struct {
				Value float64
				Unit  string
			}
		}
		Notes []string
	}
	if err := json.Unmarshal([]byte(stdout), &found); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if len(found.Results) != 1 || !strings.HasPrefix(found.Results[0].Name, "Live/") {
		t.Fatalf("results %+v, expected one", found.Results)
	}
	metrics := map[string]float64{}
	for _, m := range found.Results[0].Metrics {
		metrics[m.Unit] = m.Value
	}
	return metrics, strings.Join(found.Notes, "\n")
}

// TestBenchLive: every connection that was sent has its record, right in every
// field, in both versions of IP and both ways of accounting.
func TestBenchLive(t *testing.T) {
	for name, args := range map[string][]string{
		"counted":             {"--control", "10%", "--frame-length", "600"},
		"sequence":            {"--control", "10%", "--accounting", "sequence", "--closer", "server"},
		"IPv6, control alone": {"--control", "57%", "--ipv6", "--closer", "client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // mostly they wait for connections to linger
			metrics, notes := benchLive(t, append(args, "--connections", "2k", "--rate", "20k", "--trial", "500ms")...)
			if metrics["lost/frame"] != 0 || metrics["frames/s"] <= 0 {
				t.Errorf("metrics %v", metrics)
			}
			if !strings.Contains(notes, "right in every field; 0 have none, 0 say that they are lossy, 0 are wrong; 0 records are repeated, 0 of") {
				t.Errorf("notes: %s", notes)
			}
			if metrics["fin_wait_1-p50-ns"] <= 0 || metrics["teardown-p50-ns"] < metrics["fin_wait_1-p50-ns"] {
				t.Errorf("phases %v", metrics)
			}
		})
	}
}

// TestBenchLiveReceivers: other receivers take the same load, and a command is
// started and ended where frames arrive.
func TestBenchLiveReceivers(t *testing.T) {
	dir := t.TempDir()
	seen := filepath.Join(dir, "seen")
	metrics, notes := benchLive(t, "--connections", "500", "--rate", "5k", "--trial", "300ms", "--receiver", "none",
		"--exec", "sh -c 'grep -q {interface} /proc/net/dev && exec sleep 1000'", "--exec-after", "grep {interface} /proc/net/dev | tee "+seen)
	if metrics["lost/frame"] != 0 {
		t.Errorf("metrics %v", metrics)
	}
	if _, there := metrics["exec-cpu-s/Mframes"]; !there || !strings.Contains(notes, generator.ReceiveInterface+":") {
		t.Errorf("metrics %v, notes %s", metrics, notes)
	}
	if _, err := os.Stat(seen); err != nil {
		t.Error(err)
	}
	if metrics, _ := benchLive(t, "--connections", "500", "--rate", "full", "--trial", "200ms", "--receiver", "drop"); metrics["lost/frame"] != 0 || metrics["connections/s"] <= 0 {
		t.Errorf("drop: metrics %v", metrics)
	}
	status, _, stderr := finwait("bench", "live", "--connections", "100", "--rate", "5k", "--trial", "200ms", "--receiver", "none", "--exec", "sh -c 'echo heard >&2; exit 3'")
	if status != exitFailure || !strings.Contains(stderr, "it ended at once (exit status 3)") || !strings.HasPrefix(stderr, "heard\n") {
		t.Errorf("a command that ends at once: status %d: %s", status, stderr)
	}
}

// TestBenchLiveCancelled leaves nothing behind, at whatever point it is stopped.
func TestBenchLiveCancelled(t *testing.T) {
	s := newSite(t, 1)
	before := s.traces()
	for _, after := range []time.Duration{0, 100 * time.Millisecond, 700 * time.Millisecond, 2500 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		var stdout, stderr strings.Builder
		status := execute(ctx, []string{"bench", "live", "--connections", "100k", "--rate", "50k", "--trial", "1m"}, &stdout, &stderr)
		cancel()
		if status != exitFailure || stdout.Len() > 0 {
			t.Errorf("stopped after %v: status %d, stdout %q, stderr %q", after, status, stdout.String(), stderr.String())
		}
	}
	eventually(t, "files and programs closed", func() bool { return s.traces().equal(before) })
}

// TestBenchLiveInterfaces measures between two interfaces that were there before,
// and refuses one with an address.
func TestBenchLiveInterfaces(t *testing.T) {
	needRoot(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	command := []string{"bench", "live", "--transmit", "left0", "--receive", "right0", "--connections", "1k", "--rate", "20k", "--trial", "300ms"}
	err = netns.Do(ns, func() error {
		pair := netlink.NewVeth(netlink.NewLinkAttrs())
		pair.Name, pair.PeerName = "left0", "right0"
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		for _, name := range []string{"lo", "left0", "right0"} {
			device, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(device); err != nil {
				return err
			}
		}
		if status, stdout, stderr := finwait(command...); status != 0 || !strings.Contains(stdout, "0 have none, 0 say that they are lossy, 0 are wrong") {
			t.Errorf("status %d: %s%s", status, stdout, stderr)
		}
		right, err := netlink.LinkByName("right0")
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr("198.18.0.1/24")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(right, address); err != nil {
			return err
		}
		if status, _, stderr := finwait(command...); status != exitFailure || !strings.Contains(stderr, `--receive: interface "right0" carries this machine's address`) {
			t.Errorf("an address on the receiving interface: status %d: %s", status, stderr)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRecordCheck finds every way in which a record can be wrong.
func TestRecordCheck(t *testing.T) {
	needRoot(t)
	wire, err := generator.NewWire()
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	var g *generator.Generator
	if err := wire.AtReceiver(func() error {
		r, err := generator.Discard(generator.ReceiveInterface)
		if err == nil {
			t.Cleanup(func() { _ = r.Close() })
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := wire.AtTransmitter(func() (err error) {
		g, err = generator.Open(generator.Config{Interface: generator.TransmitInterface, Window: 3, DataSegments: 4, Connections: 3, CPU: -1})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.Fill(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Drain(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	plan, err := g.Plan()
	if err != nil {
		t.Fatal(err)
	}
	right := func(n uint32) flowtable.Record {
		c := plan.Connection(n)
		r := flowtable.Record{
			Client:    flowtable.Side{Address: c.Client.Addr().As16(), Port: c.Client.Port(), Packets: c.ClientSegments, Octets: c.ClientOctets, Payload: c.ClientPayload},
			Server:    flowtable.Side{Address: c.Server.Addr().As16(), Port: c.Server.Port(), Packets: c.ServerSegments, Octets: c.ServerOctets, Payload: c.ServerPayload},
			CloseKind: flowtable.FourWay, Initiator: flowtable.Client, Complete: true, EndReason: flowtable.EndClosed,
		}
		for m := flowtable.SYNAt; m < flowtable.RSTAt; m++ {
			r.Seen |= 1 << m
			r.At[m] = int64(m)
		}
		return r
	}
	for name, test := range map[string]struct {
		spoil func(records *[]flowtable.Record)
		want  func(v *recordVerdict) bool
	}{
		"right":     {func(*[]flowtable.Record) {}, (*recordVerdict).ok},
		"missing":   {func(r *[]flowtable.Record) { *r = (*r)[:2] }, func(v *recordVerdict) bool { return v.Missing == 1 && v.Right == 2 }},
		"repeated":  {func(r *[]flowtable.Record) { *r = append(*r, (*r)[1]) }, func(v *recordVerdict) bool { return v.Repeated == 1 && !v.ok() }},
		"unknown":   {func(r *[]flowtable.Record) { (*r)[0].Client.Port = 80 }, func(v *recordVerdict) bool { return v.Unknown == 1 && v.Missing == 1 }},
		"lossy":     {func(r *[]flowtable.Record) { (*r)[0].Evidence = flowtable.Lossy }, func(v *recordVerdict) bool { return v.Lossy == 1 && v.Right == 2 }},
		"kind":      {func(r *[]flowtable.Record) { (*r)[0].CloseKind = flowtable.ThreeWay }, wrongOne},
		"initiator": {func(r *[]flowtable.Record) { (*r)[0].Initiator = flowtable.Server }, wrongOne},
		"moments":   {func(r *[]flowtable.Record) { (*r)[0].Seen &^= 1 << flowtable.ACK2At }, wrongOne},
		"reason":    {func(r *[]flowtable.Record) { (*r)[0].EndReason = flowtable.EndEvicted }, wrongOne},
		"evidence":  {func(r *[]flowtable.Record) { (*r)[0].Evidence = flowtable.Midstream }, wrongOne},
		"packets":   {func(r *[]flowtable.Record) { (*r)[0].Client.Packets++ }, wrongOne},
		"octets":    {func(r *[]flowtable.Record) { (*r)[0].Server.Octets-- }, wrongOne},
		"payload":   {func(r *[]flowtable.Record) { (*r)[2].Client.Payload++ }, wrongOne},
		"data segments": {func(r *[]flowtable.Record) {
			(*r)[0].Client.Payload += 6
			(*r)[0].Client.Packets++
			(*r)[0].Client.Octets += 46
		}, wrongOne},
		"retransmitted": {func(r *[]flowtable.Record) { (*r)[0].Client.FINRetransmits++ }, wrongOne},
		"server":        {func(r *[]flowtable.Record) { (*r)[0].Server.Port = 80 }, wrongOne},
		"accounting":    {func(r *[]flowtable.Record) { (*r)[0].Accounting = flowtable.AccountingSequence }, wrongOne},
	} {
		records := []flowtable.Record{right(0), right(1), right(2)}
		test.spoil(&records)
		check := newRecordCheck(g, false)
		if err := check.Write(records); err != nil {
			t.Fatal(err)
		}
		v, err := check.judge()
		if err != nil {
			t.Fatal(err)
		}
		if !test.want(v) {
			t.Errorf("%s: %v: %v", name, v, v.Examples)
		}
	}
}

func wrongOne(v *recordVerdict) bool {
	return v.Wrong == 1 && v.Right == 2 && !v.ok() && len(v.Examples) == 1
}

// TestReadCPU: a process that works is seen to.
func TestReadCPU(t *testing.T) {
	before, err := readCPU()
	if err != nil {
		t.Fatal(err)
	}
	other, err := processCPU(unix.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(50 * time.Millisecond); time.Now().Before(until); {
	}
	after, err := readCPU()
	if err != nil {
		t.Fatal(err)
	}
	later, err := processCPU(unix.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	used := after.since(before)
	if used.Process <= 0 || used.Took < 50*time.Millisecond || later <= other {
		t.Errorf("used %+v, and from %v to %v", used, other, later)
	}
	if nothing := used.beyond(used); nothing.Process != 0 || nothing.Busy != 0 {
		t.Errorf("a load beyond itself: %+v", nothing)
	}
}
