package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

func address(text string) [16]byte { return netip.MustParseAddr(text).As16() }

func at(r *flowtable.Record, m flowtable.Moment, ns int64) {
	r.At[m] = ns
	r.Seen |= 1 << m
}

// closed is a connection whose client closed, with the given waits in ns.
func closed(serial uint64, finWait1, closeWait, lastACK int64) flowtable.Record {
	r := flowtable.Record{
		Serial:    serial,
		Client:    flowtable.Side{Address: address("10.0.0.1"), Port: 40000, Packets: 6, Octets: 420, State: flowtable.StateTimeWait},
		Server:    flowtable.Side{Address: address("192.0.2.7"), Port: 443, Packets: 5, Octets: 99000, FINRetransmits: 2},
		Interface: 1, CloseKind: flowtable.FourWay, Initiator: flowtable.Client, Complete: true,
	}
	at(&r, flowtable.FIN1At, 1000)
	at(&r, flowtable.ACK1At, 1000+finWait1)
	at(&r, flowtable.FIN2At, 1000+finWait1+closeWait)
	at(&r, flowtable.ACK2At, 1000+finWait1+closeWait+lastACK)
	return r
}

// overIPv6 has the longest endpoints there are.
func overIPv6() flowtable.Record {
	r := closed(9, 1, 2, 3)
	r.Client.Address, r.Client.Port = address("2001:db8:1111:2222:3333:4444:5555:6666"), 65535
	r.Server.Address = address("2001:db8:1111:2222:3333:4444:5555:7777")
	return r
}

func unanswered() flowtable.Record {
	return flowtable.Record{
		Client:    flowtable.Side{Address: address("10.0.0.2"), Port: 1, State: flowtable.StateSYNSent},
		Server:    flowtable.Side{Address: address("192.0.2.8"), Port: 80},
		CloseKind: flowtable.Unanswered, Accounting: flowtable.AccountingSequence, EndReason: flowtable.EndIdleTimeout,
		Evidence: flowtable.OneSided,
	}
}

func TestNDJSON(t *testing.T) {
	names := api.NewNames(nil, nil)
	var out bytes.Buffer
	s := NewNDJSON(&out, names)
	records := []flowtable.Record{closed(1, 1, 2, 3), overIPv6()}
	if err := errors.Join(s.Write(records[:1]), s.Write(nil)); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), string(api.AppendFlow(nil, &records[0], names))+"\n"; got != want {
		t.Errorf("after the first batch\n got %q\nwant %q", got, want)
	}
	if err := errors.Join(s.Write(records[1:]), s.Close()); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(out.String(), "\n")
	if len(lines) != 3 || lines[2] != "" {
		t.Fatalf("%d lines, want 2 that end: %q", len(lines)-1, out.String())
	}
	for i, l := range lines[:2] {
		var f api.Flow
		if err := json.Unmarshal([]byte(l), &f); err != nil || f.FlowID != names.FlowID(records[i].Serial) {
			t.Errorf("line %d: %v, flow_id %q", i, err, f.FlowID)
		}
	}
}

func TestJSON(t *testing.T) {
	for _, batches := range [][]int{{}, {1}, {1, 0, 2}, {500}} {
		var out bytes.Buffer
		s := NewJSON(&out, api.NewNames(nil, nil))
		total := 0
		for _, n := range batches {
			records := make([]flowtable.Record, n)
			for i := range records {
				records[i] = closed(uint64(total+i), 1, 2, 3)
			}
			total += n
			if err := s.Write(records); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		flows := []api.Flow(nil)
		if err := json.Unmarshal(out.Bytes(), &flows); err != nil || len(flows) != total || flows == nil {
			t.Errorf("batches %v: %d flows, want %d, error %v", batches, len(flows), total, err)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	s := NewTable(&out)
	oneLong := overIPv6()
	oneLong.Server.Address = address("2001:db8::7")
	records := []flowtable.Record{closed(1, 999, 1_500_000, 2_000_000_000), overIPv6(), oneLong, unanswered()}
	if err := errors.Join(s.Write(records), s.Close()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"CLIENT                     SERVER                     KIND         BY     FIN_WAIT_1 CLOSE_WAIT   LAST_ACK               BYTES STATE",
		"10.0.0.1:40000             192.0.2.7:443              four_way     client      999ns     1.50ms      2.00s           420/99000 TIME-WAIT/CLOSED",
		"[2001:db8:1111:2222:3333:4444:5555:6666]:65535 [2001:db8:1111:2222:3333:4444:5555:7777]:443 four_way client 1ns 2ns 3ns 420/99000 TIME-WAIT/CLOSED",
		"[2001:db8:1111:2222:3333:4444:5555:6666]:65535 [2001:db8::7]:443 four_way client 1ns        2ns        3ns           420/99000 TIME-WAIT/CLOSED",
		"10.0.0.2:1                 192.0.2.8:80               unanswered   -               -          -          -                   - SYN-SENT/CLOSED",
	}
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if !slices.Equal(got, want) {
		t.Errorf("table\n got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	out.Reset()
	if err := NewTable(&out).Close(); err != nil || out.String() != want[0]+"\n" {
		t.Errorf("table of nothing: %q, %v", out.String(), err)
	}
}

func TestWriteErrorsSurface(t *testing.T) {
	names := api.NewNames(nil, nil)
	for name, open := range map[string]func(io.Writer) Sink{
		"ndjson": func(w io.Writer) Sink { return NewNDJSON(w, names) },
		"json":   func(w io.Writer) Sink { return NewJSON(w, names) },
		"table":  func(w io.Writer) Sink { return NewTable(w) },
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			s := open(w)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			records := []flowtable.Record{closed(1, 1, 2, 3)}
			for what, err := range map[string]error{"first": s.Write(records), "second": s.Write(records), "close": s.Close()} {
				if !errors.Is(err, syscall.EPIPE) {
					t.Errorf("%s: %v, want broken pipe", what, err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// flaky fails every write of its list, counted from 0, and keeps serials.
type flaky struct {
	fail    []int
	calls   int
	serials []uint64
	closed  bool
	atClose error
}

func (f *flaky) Write(records []flowtable.Record) error {
	f.calls++
	if slices.Contains(f.fail, f.calls-1) {
		return errors.New("disk full")
	}
	for i := range records {
		f.serials = append(f.serials, records[i].Serial)
	}
	return nil
}

func (f *flaky) Close() error {
	f.closed = true
	return f.atClose
}

func TestFanoutIsolatesSinks(t *testing.T) {
	bad, good, late := &flaky{fail: []int{0, 2}}, &flaky{}, &flaky{atClose: errors.New("no goodbye")}
	var reports []string
	f := NewFanout(func(name string, err error) { reports = append(reports, name+": "+err.Error()) },
		Branch{"bad", bad}, Branch{"good", good}, Branch{"late", late})
	for serial := range uint64(3) {
		if err := f.Write([]flowtable.Record{{Serial: 2 * serial}, {Serial: 2*serial + 1}}); err != nil {
			t.Fatal(err)
		}
	}
	err := f.Close()
	if err == nil || err.Error() != "sink \"bad\": disk full\nsink \"late\": no goodbye" {
		t.Errorf("close: %v", err)
	}
	if want := []uint64{0, 1, 2, 3, 4, 5}; !slices.Equal(good.serials, want) || !slices.Equal(late.serials, want) {
		t.Errorf("the others got %v and %v, want %v", good.serials, late.serials, want)
	}
	if want := []uint64{2, 3}; !slices.Equal(bad.serials, want) {
		t.Errorf("the failing sink got %v, want %v", bad.serials, want)
	}
	if !bad.closed || !good.closed || !late.closed {
		t.Error("not every sink was closed")
	}
	if want := []string{"bad: disk full", "late: no goodbye"}; !slices.Equal(reports, want) {
		t.Errorf("reports %q, want %q", reports, want)
	}
	want := []Failures{{"bad", 2, 4}, {"good", 0, 0}, {"late", 0, 0}}
	if got := f.Failures(); !slices.Equal(got, want) {
		t.Errorf("failures %v, want %v", got, want)
	}
}

func TestSummaryPercentilesAgainstASort(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	s := NewSummary()
	var sorted [flowtable.Phases][]int64
	records := make([]flowtable.Record, 20_001)
	for i := range records {
		wait := func() int64 { return int64(math.Exp(rng.Float64() * 30)) } // up to some 3 hours
		records[i] = closed(uint64(i), wait(), wait(), wait())
		for p := range sorted {
			ns, ok := records[i].Phase(flowtable.Phase(p))
			if !ok {
				t.Fatal("phase unknown")
			}
			sorted[p] = append(sorted[p], ns)
		}
	}
	if err := s.Write(records); err != nil {
		t.Fatal(err)
	}
	for p := range sorted {
		slices.Sort(sorted[p])
		n := len(sorted[p])
		got := s.Phase(flowtable.Phase(p))
		if got.Count != uint64(n) || got.Max != sorted[p][n-1] {
			t.Errorf("%v: count %d max %d, want %d %d", flowtable.Phase(p), got.Count, got.Max, n, sorted[p][n-1])
		}
		for percent, value := range map[int]int64{50: got.P50, 90: got.P90, 99: got.P99} {
			want := sorted[p][(n*percent+99)/100-1]
			if math.Abs(float64(value-want)) > float64(want)/1000 {
				t.Errorf("%v: p%d %d, want %d within 0.1%%", flowtable.Phase(p), percent, value, want)
			}
		}
	}
}

func TestSummaryRendered(t *testing.T) {
	s := NewSummary()
	slice := closed(7, 1, 2, 3)
	slice.EndReason = flowtable.EndActiveTimeout
	if err := s.Write([]flowtable.Record{closed(1, 1_000, 2_000_000, 3_000), unanswered(), slice}); err != nil {
		t.Fatal(err)
	}
	traffic := Traffic{Packets: 15, Octets: 99480, Skipped: []Skipped{{"not_tcp", 3}, {"fragment", 0}, {"late", 1}}}
	want := `packets      15, 99480 octets
connections  2
records      3, with the slices of long connections

close kind
  four_way                1  50.00%
  unanswered              1  50.00%

closed by
  nobody                  1  50.00%
  client                  1  50.00%

evidence
  full                    1  50.00%
  one_sided               1  50.00%

record written
  closed                  1  50.00%
  idle_timeout            1  50.00%

phase                 count      p50      p90      p99      max
  fin_wait_1              1   1.00us   1.00us   1.00us   1.00us
  close_wait              1   2.00ms   2.00ms   2.00ms   2.00ms
  last_ack                1   3.00us   3.00us   3.00us   3.00us
  teardown                1   2.00ms   2.00ms   2.00ms   2.00ms

retransmitted FINs  0 by clients, 2 by servers

skipped packets
  not_tcp                 3
  late                    1
`
	var out bytes.Buffer
	if err := s.Render(&out, traffic); err != nil || out.String() != want {
		t.Errorf("error %v, summary\n%s\nwant\n%s", err, out.String(), want)
	}
	if err := s.Render(brokenPipe{}, traffic); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("render into a broken pipe: %v", err)
	}
	out.Reset()
	if err := NewSummary().Render(&out, Traffic{}); err != nil || !strings.Contains(out.String(), "connections  0\n") {
		t.Errorf("summary of nothing: %q, %v", out.String(), err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func BenchmarkNDJSON(b *testing.B) {
	s := NewNDJSON(io.Discard, api.NewNames(nil, func(uint32) string { return "a.pcap" }))
	records := make([]flowtable.Record, 256)
	for i := range records {
		records[i] = closed(uint64(i), 1000, 2000, 3000)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Write(records); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(records)), "ns/record")
}
