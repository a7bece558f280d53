package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp/lab"
)

// needRoot skips a test that cannot be run without root, but never in CI.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test needs root")
	}
	t.Skip("needs root: namespaces, BPF and AF_XDP")
}

// The laboratory sees every kind of close as it was done, loses nothing, and
// says so by its exit status.
func TestLabAgrees(t *testing.T) {
	needRoot(t)
	status, stdout, stderr := finwait("lab", "--for", "2s", "--format", "json", "--queues", "2")
	for again := 0; status != 0 && again < 3 && hubDropped(t, stdout); again++ {
		t.Logf("the hub lost frames on their way to the tap, and nobody could have seen them: %s", stderr)
		status, stdout, stderr = finwait("lab", "--for", "2s", "--format", "json", "--queues", "2")
	}
	if status != 0 {
		t.Fatalf("exit status %d: %s\n%s", status, stderr, stdout)
	}
	var result struct {
		OK     bool
		Report struct {
			Connections, Agreed int
			Scenarios           []struct {
				Scenario    string
				Connections int
				CloseKinds  map[string]int `json:"close_kinds"`
			}
		}
		Losses []any
	}
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatal(err)
	}
	if !result.OK || result.Report.Agreed != result.Report.Connections || result.Report.Connections < 40 || len(result.Losses) > 0 {
		t.Errorf("the result does not say what the exit status does: %+v", result)
	}
	var kinds []string
	for _, s := range result.Report.Scenarios {
		for kind := range s.CloseKinds {
			kinds = append(kinds, kind)
		}
	}
	for _, kind := range []string{"refused", "reset", "simultaneous", "three_way", "four_way", "unanswered"} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no connection was %s: %v", kind, kinds)
		}
	}
	for _, fact := range []string{"native XDP", "2 receive queues", "API: http://127.0.0.1:"} {
		if !strings.Contains(stderr, fact) {
			t.Errorf("the start does not say %q: %s", fact, stderr)
		}
	}
}

// hubDropped tells whether a result says that the laboratory itself lost frames.
func hubDropped(t *testing.T, result string) bool {
	t.Helper()
	var r struct {
		HubDropped uint64 `json:"hub_dropped"`
	}
	if err := json.Unmarshal([]byte(result), &r); err != nil {
		t.Fatal(err)
	}
	return r.HubDropped > 0
}

// A laboratory that is interrupted says so and leaves nothing behind.
func TestLabInterrupted(t *testing.T) {
	needRoot(t)
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	before := countFiles(t)
	var stdout, stderr bytes.Buffer
	status := execute(ctx, []string{"lab", "--for", "1m"}, &stdout, &stderr)
	if status != exitFailure || stdout.Len() != 0 {
		t.Errorf("exit status %d, standard output %q, standard error %q", status, stdout.String(), stderr.String())
	}
	if after := countFiles(t); after > before {
		t.Errorf("%d open files before, %d after", before, after)
	}
}

// countFiles counts this process's open files: namespaces, sockets, programs
// and maps are all held by one.
func countFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// A result that does not agree is an error, whatever the format.
func TestLabDisagreementFails(t *testing.T) {
	tuple := lab.Tuple{ClientIP: netip.MustParseAddr("192.0.2.1"), ClientPort: 1, ServerIP: netip.MustParseAddr("192.0.2.2"), ServerPort: 2}
	missing := lab.Compare([]lab.Expectation{{Scenario: "client_first", Tuple: tuple, CloseKinds: []string{"four_way"}}}, nil)
	for _, r := range []labResult{{Report: missing}, {Report: missing, Losses: []json.RawMessage{[]byte(`{}`)}}, {Report: missing, HubDropped: 1}} {
		for _, format := range []string{"table", "json"} {
			var out bytes.Buffer
			if err := r.print(format, &out); err == nil || out.Len() == 0 {
				t.Errorf("%s: error %v, output %q", format, err, out.String())
			}
		}
	}
}

// witnessed runs traffic past an appliance and the kernel's own tracepoint,
// again where the hub lost frames that the tap then could not see.
func witnessed(t testing.TB, duration time.Duration) ([]flowtable.Record, []lab.Truth) {
	t.Helper()
	for range 3 {
		if records, truths, dropped := witness(t, duration); dropped == 0 {
			return records, truths
		}
	}
	t.Fatal("the hub lost frames on their way to the tap, three times in a row")
	return nil, nil
}

// TestLabBySequence: without the kernel's flow table the same is seen of every
// close, and the same payload.
func TestLabBySequence(t *testing.T) {
	needRoot(t)
	run := func() (status int, stdout, stderr string) {
		return finwait("lab", "--for", "1s", "--format", "json", "--accounting", "sequence")
	}
	status, stdout, stderr := run()
	for again := 0; status != 0 && again < 3 && hubDropped(t, stdout); again++ {
		t.Logf("the hub lost frames on their way to the tap, and nobody could have seen them: %s", stderr)
		status, stdout, stderr = run()
	}
	if status != 0 {
		t.Fatalf("exit status %d: %s\n%s", status, stderr, stdout)
	}
	if !strings.Contains(stderr, "accounting by sequence: no flow table") {
		t.Errorf("the start does not tell the accounting: %s", stderr)
	}
}

// TestLabGateway: through a gateway, with NAT and without, every connection is two
// records that know of each other, and every octet is on record.
func TestLabGateway(t *testing.T) {
	needRoot(t)
	for _, nat := range []string{"true", "false"} {
		status, stdout, stderr := finwait("lab", "--mode", "gateway", "--nat="+nat, "--for", "0s", "--format", "json")
		if status != 0 {
			t.Errorf("--nat=%s: exit status %d: %s\n%s", nat, status, stderr, stdout)
			continue
		}
		var result struct {
			OK     bool
			Report struct {
				Connections, Agreed int
				Scenarios           []struct {
					Scenario string
					Transit  *int64 `json:"fin1_transit_median_ns"`
				}
			}
			Interfaces []labInterface
		}
		if err := json.Unmarshal([]byte(stdout), &result); err != nil {
			t.Fatal(err)
		}
		if !result.OK || result.Report.Connections < 80 || len(result.Interfaces) != 2 {
			t.Errorf("--nat=%s: the result does not say what the exit status does: %+v", nat, result)
		}
		for _, i := range result.Interfaces {
			if i.Packets == 0 || i.Packets != i.Frames || i.Octets != i.FrameOctets {
				t.Errorf("--nat=%s: %v", nat, i)
			}
		}
		for _, s := range result.Report.Scenarios {
			if s.Scenario == "client_first" && (s.Transit == nil || *s.Transit <= 0) {
				t.Errorf("--nat=%s: FIN1 took no time through the gateway", nat)
			}
		}
	}
}

// What is not on record, or not by the kernel's count, is no agreement.
func TestLabOctets(t *testing.T) {
	same := labInterface{Packets: 2, Octets: 3, Frames: 2, FrameOctets: 3}
	for want, i := range map[bool][]labInterface{
		true:  {same, same},
		false: {same, {Packets: 2, Octets: 4, Frames: 2, FrameOctets: 3}},
	} {
		if got := (&labResult{Interfaces: i}).octetsAgree(); got != want {
			t.Errorf("%+v agree: %v", i, got)
		}
	}
}

// tapped starts the appliance at a network's tap, and returns how to end it.
func tapped(t testing.TB, network *lab.Network) (a *appliance, end func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err = startInLab(t.Context(), network, labTap(false), listener, nil, io.Discard)
	if err != nil {
		t.Fatal(errors.Join(err, listener.Close()))
	}
	return a, func() {
		if err := errors.Join(a.stop(), a.close()); err != nil {
			t.Error(err)
		}
	}
}

func witness(t testing.TB, duration time.Duration) (records []flowtable.Record, truths []lab.Truth, dropped uint64) {
	t.Helper()
	network, err := lab.Build(lab.Config{TapQueues: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	}()
	trace, err := network.Trace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, end := tapped(t, network)
	defer end()
	if _, err := network.Traffic(t.Context(), duration, nil); err != nil {
		t.Error(err)
	}
	if err := settle(t.Context(), a); err != nil {
		t.Error(err)
	}
	if err := trace.Close(); err != nil {
		t.Error(err)
	}
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	records = a.onRecord(t)
	if dropped, err = network.Dropped(); err != nil {
		t.Error(err)
	}
	return records, lab.Truths(trace.Events()), dropped
}

// onRecord returns the recent records, the oldest first.
func (a *appliance) onRecord(t testing.TB) (records []flowtable.Record) {
	t.Helper()
	everything := history.Range{End: a.recent.Span().End, Ascending: true}
	if _, err := a.recent.Scan(t.Context(), everything, func(run history.Run) bool {
		for i := run.From; i < run.To; i++ {
			records = append(records, run.Block.Record(i))
		}
		return true
	}); err != nil {
		t.Error(err)
	}
	return records
}

func tupleOf(r *flowtable.Record) lab.Tuple {
	return lab.Tuple{ClientIP: api.Address(&r.Client.Address), ClientPort: r.Client.Port,
		ServerIP: api.Address(&r.Server.Address), ServerPort: r.Server.Port}
}

// pairs matches records to the kernel's word by tuple and order of start, and
// leaves out what has no kernel socket (crafted segments).
func pairs(records []flowtable.Record, truths []lab.Truth) (matched int, each func(yield func(*flowtable.Record, *lab.Truth))) {
	slices.SortFunc(records, func(a, b flowtable.Record) int { return int(a.StartAt - b.StartAt) })
	byTuple := map[lab.Tuple][]*flowtable.Record{}
	for i := range records {
		t := tupleOf(&records[i])
		byTuple[t] = append(byTuple[t], &records[i])
	}
	type pair struct {
		r *flowtable.Record
		t *lab.Truth
	}
	var all []pair
	for i := range truths {
		if rs := byTuple[truths[i].Tuple]; len(rs) > 0 {
			all = append(all, pair{rs[0], &truths[i]})
			byTuple[truths[i].Tuple] = rs[1:]
		}
	}
	return len(all), func(yield func(*flowtable.Record, *lab.Truth)) {
		for _, p := range all {
			yield(p.r, p.t)
		}
	}
}

// The kernel's tracepoint and the tap agree on who closed and on which waves
// there were, and no wave is seen before the kernel could have sent it. Both
// use CLOCK_MONOTONIC.
func TestRecordsAgreeWithKernel(t *testing.T) {
	needRoot(t)
	records, truths := witnessed(t, 2*time.Second)
	matched, each := pairs(records, truths)
	if matched != len(truths) || matched < 40 {
		t.Fatalf("%d of the kernel's %d connections are on record", matched, len(truths))
	}
	closed, untold := 0, 0
	each(func(r *flowtable.Record, truth *lab.Truth) {
		w := truth.Waves()
		// A close that was reset may have entered FIN-WAIT-1 without a FIN of
		// its own on the wire; one that both ends closed has both waves.
		if !w.FIN1.Seen || r.CloseKind == flowtable.Reset {
			return
		}
		if !truth.Whole() {
			untold++
			return
		}
		closed++
		if got := lab.Party(r.Initiator.String()); got != w.Initiator {
			t.Errorf("%v: closed by %q, the kernel says %q", truth.Tuple, got, w.Initiator)
		}
		for _, wave := range []struct {
			name   string
			moment flowtable.Moment
			after  lab.Wave
			seen   bool
		}{
			{"FIN1 before FIN-WAIT-1", flowtable.FIN1At, w.FIN1, w.FIN1.Seen},
			{"ACK1 before CLOSE-WAIT", flowtable.ACK1At, w.CloseWait, w.ACK1.Seen},
			{"FIN2 before LAST-ACK", flowtable.FIN2At, w.FIN2, w.FIN2.Seen},
			{"ACK2 before LAST-ACK", flowtable.ACK2At, w.FIN2, w.ACK2.Seen},
		} {
			at, seen := r.Time(wave.moment)
			if seen != wave.seen {
				t.Errorf("%v: %s: seen at the tap: %v, by the kernel: %v", truth.Tuple, wave.name, seen, wave.seen)
			} else if seen && wave.after.Seen && at < wave.after.AtNS {
				t.Errorf("%v: %s by %d ns", truth.Tuple, wave.name, wave.after.AtNS-at)
			}
		}
	})
	if closed < 20 || untold > closed/4 {
		t.Errorf("only %d connections were closed by FINs and told in full by the kernel, %d in part", closed, untold)
	}
}

// BenchmarkKernelTruth reports how far the tap's times lie from the kernel's:
// p50 and p99 of the tap's time less the kernel's, for each wave.
func BenchmarkKernelTruth(b *testing.B) {
	needRoot(b)
	differences := map[string][]int64{}
	for b.Loop() {
		records, truths := witnessed(b, 5*time.Second)
		_, each := pairs(records, truths)
		each(func(r *flowtable.Record, truth *lab.Truth) {
			w := truth.Waves()
			for _, wave := range []struct {
				name   string
				moment flowtable.Moment
				kernel lab.Wave
			}{{"fin1", flowtable.FIN1At, w.FIN1}, {"ack1", flowtable.ACK1At, w.ACK1}, {"fin2", flowtable.FIN2At, w.FIN2}, {"ack2", flowtable.ACK2At, w.ACK2}} {
				if at, seen := r.Time(wave.moment); seen && wave.kernel.Seen && r.CloseKind != flowtable.Reset {
					differences[wave.name] = append(differences[wave.name], at-wave.kernel.AtNS)
				}
			}
		})
	}
	for name, d := range differences {
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2]), name+"-p50-ns")
		b.ReportMetric(float64(d[len(d)*99/100]), name+"-p99-ns")
	}
	b.ReportMetric(float64(len(differences["fin1"]))/float64(b.N), "connections/op")
}
