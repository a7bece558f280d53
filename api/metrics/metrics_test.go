package metrics

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/export"
	"github.com/finwait/finwait/flowtable"
)

var _ export.Sink = (*Connections)(nil)

// testConfig is an appliance with a bit of everything.
func testConfig() Config {
	queue := 1
	return Config{
		Version: "1.2.3",
		Appliance: func() Appliance {
			return Appliance{
				Totals: api.Totals{Packets: 100, Octets: 6000, Segments: 20, Records: 4},
				Table:  api.TableStatus{Connections: 5, Capacity: 1000, MemoryOctets: 296000},
				Ledger: []api.LedgerEntry{
					{Stage: "program", Interface: "eth1", Reason: "not_ip", Count: 3},
					{Stage: "socket", Interface: "eth1", Queue: &queue, Reason: "rx_ring_full", Count: 2, Loss: true},
					{Stage: "socket", Interface: "eth1", Queue: &queue, Reason: "rx_ring_full", Count: 5, Loss: true},
					{Stage: "sink", Reason: "bad\xffname", Count: 1, Loss: true},
				},
				Opened:  9,
				Workers: []Worker{{"eth1", 1, 30, 10, 20}},
				Recent:  api.RecentStatus{Records: 4, Capacity: 100, MemoryOctets: 24000, Overwritten: 11},
				Sinks:   []export.Failures{{Name: "records", Batches: 2, Records: 7}},
			}
		},
		Census: func() (c flowtable.Census) {
			c.Clients[flowtable.StateFINWait2], c.Servers[flowtable.StateCloseWait] = 12, 12
			return c
		},
		HTTP: func() HTTP { return HTTP{3, 512} },
	}
}

// family returns what a scrape would say of one name.
func family(t *testing.T, m *Metrics, name string) *dto.MetricFamily {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

// member returns the one with these labels, written as a=b,c=d in their order.
func member(t *testing.T, m *Metrics, name, labels string) *dto.Metric {
	t.Helper()
	for _, metric := range family(t, m, name).GetMetric() {
		var pairs []string
		for _, l := range metric.GetLabel() {
			pairs = append(pairs, l.GetName()+"="+l.GetValue())
		}
		if strings.Join(pairs, ",") == labels {
			return metric
		}
	}
	t.Fatalf("%s has no {%s}", name, labels)
	return nil
}

func value(t *testing.T, m *Metrics, name, labels string) float64 {
	t.Helper()
	metric := member(t, m, name, labels)
	switch {
	case metric.Counter != nil:
		return metric.Counter.GetValue()
	case metric.Gauge != nil:
		return metric.Gauge.GetValue()
	default:
		return float64(metric.Histogram.GetSampleCount())
	}
}

// slice is a record of a connection that went on.
func slice() flowtable.Record {
	r := apitest.HalfClosed()
	r.CloseKind, r.EndReason, r.Accounting = flowtable.Open, flowtable.EndActiveTimeout, flowtable.AccountingCounted
	r.Client.Octets = 1000
	return r
}

// randomRecords have every kind of close, by everybody, for every reason.
func randomRecords(n int) []flowtable.Record {
	rng, records := rand.New(rand.NewPCG(1, 2)), make([]flowtable.Record, n)
	for i := range records {
		records[i] = apitest.RandomRecord(rng)
	}
	return records
}

func TestRecordsAreCounted(t *testing.T) {
	m := New(testConfig())
	reused := apitest.FourWay()
	reused.ReuseAfter = timeWait // not inside TIME-WAIT any more
	reset := apitest.HalfClosed()
	reset.EndReason = flowtable.EndClosed
	if err := m.Connections.Write([]flowtable.Record{apitest.FourWay(), reused, apitest.Refused(), reset, slice()}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		name, labels string
		value        float64
	}{
		{"finwait_connections_closed_total", "close_initiator=server,close_kind=four_way,end_reason=closed", 2},
		{"finwait_connections_closed_total", "close_initiator=server,close_kind=refused,end_reason=closed", 1},
		{"finwait_connections_closed_total", "close_initiator=client,close_kind=reset,end_reason=closed", 1},
		{"finwait_connections_closed_total", "close_initiator=client,close_kind=three_way,end_reason=closed", 0},
		{"finwait_connection_slices_total", "", 1},
		{"finwait_connections_by_evidence_total", "evidence=full", 3},
		{"finwait_connections_by_evidence_total", "evidence=lossy", 1},
		{"finwait_retransmits_total", "segment=syn,sender=client", 2},
		{"finwait_retransmits_total", "segment=syn_ack,sender=server", 4},
		{"finwait_retransmits_total", "segment=fin,sender=server", 6},
		{"finwait_retransmits_total", "segment=fin,sender=client", 0},
		{"finwait_time_wait_reuses_total", "", 1},
		{"finwait_connection_bytes_total", "sender=client", 1570 + 1570 + 60 + 1000},
		{"finwait_connection_payload_bytes_total", "sender=server", 2*4_999_999_000 + 20 + 20},
		{"finwait_close_wait_seconds", "close_initiator=server,close_kind=four_way", 2},
		{"finwait_teardown_seconds", "close_initiator=client,close_kind=reset", 1},
		{"finwait_handshake_seconds", "leg=server", 2},
		{"finwait_handshake_seconds", "leg=client", 2},
	} {
		if got := value(t, m, want.name, want.labels); got != want.value {
			t.Errorf("%s{%s} is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	h := member(t, m, "finwait_close_wait_seconds", "close_initiator=server,close_kind=four_way").Histogram
	if sum := h.GetSampleSum(); sum < .00399 || sum > .00401 { // twice ACK1 to FIN2, 2 ms
		t.Errorf("the CLOSE-WAITs add up to %v s", sum)
	}
	for _, b := range h.GetBucket() {
		if want := map[bool]uint64{true: 2}[b.GetUpperBound() >= .002]; b.GetCumulativeCount() != want {
			t.Errorf("%d CLOSE-WAITs of 2 ms are at most %v s", b.GetCumulativeCount(), b.GetUpperBound())
		}
	}
	if h.GetSchema() == 0 || len(h.GetPositiveSpan()) == 0 {
		t.Error("there is no native histogram")
	}
}

func TestApplianceIsRead(t *testing.T) {
	m := New(testConfig())
	m.Answered("/v1/flows", 200, 3*time.Millisecond)
	m.Answered("", 404, time.Millisecond)
	for _, want := range []struct {
		name, labels string
		value        float64
	}{
		{"finwait_received_bytes_total", "", 6000},
		{"finwait_tcp_segments_total", "", 100},
		{"finwait_records_total", "", 4},
		{"finwait_connections_opened_total", "", 9},
		{"finwait_table_connections", "", 5},
		{"finwait_table_capacity_connections", "", 1000},
		{"finwait_table_memory_bytes", "", 296000},
		{"finwait_connections", "end=client,state=FIN-WAIT-2", 12},
		{"finwait_connections", "end=server,state=CLOSE-WAIT", 12},
		{"finwait_connections", "end=server,state=FIN-WAIT-2", 0},
		{"finwait_ledger_total", "interface=eth1,loss=false,queue=,reason=not_ip,stage=program", 3},
		{"finwait_ledger_total", "interface=eth1,loss=true,queue=1,reason=rx_ring_full,stage=socket", 7},
		{"finwait_ledger_total", "interface=,loss=true,queue=,reason=bad?name,stage=sink", 1},
		{"finwait_worker_polls_total", "interface=eth1,queue=1", 30},
		{"finwait_worker_batches_total", "interface=eth1,queue=1", 10},
		{"finwait_worker_segments_total", "interface=eth1,queue=1", 20},
		{"finwait_recent_records", "", 4},
		{"finwait_recent_capacity_records", "", 100},
		{"finwait_recent_memory_bytes", "", 24000},
		{"finwait_recent_overwritten_total", "", 11},
		{"finwait_sink_failures_total", "sink=records", 2},
		{"finwait_sink_records_lost_total", "sink=records", 7},
		{"finwait_http_connections", "", 3},
		{"finwait_http_connections_limit", "", 512},
		{"finwait_http_requests_total", "code=200,route=/v1/flows", 1},
		{"finwait_http_requests_total", "code=404,route=none", 1},
		{"finwait_http_request_seconds", "route=/v1/flows", 1},
	} {
		if got := value(t, m, want.name, want.labels); got != want.value {
			t.Errorf("%s{%s} is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	if build := family(t, m, "finwait_build_info").GetMetric()[0]; build.GetLabel()[1].GetValue() != "1.2.3" || build.Gauge.GetValue() != 1 {
		t.Errorf("the build is %v", build)
	}
}

// Many scrapes at once count the connections' states once a second.
func TestCensusIsKept(t *testing.T) {
	counts := 0
	config := testConfig()
	config.Census = func() (c flowtable.Census) { counts++; return c }
	m := New(config)
	for range 10 {
		family(t, m, "finwait_connections")
	}
	if counts == 0 || counts > 3 {
		t.Errorf("10 scrapes counted %d times", counts)
	}
}

// What has to do with an address or a port would make as many series as there
// are senders: a scrape is no larger after any records.
func TestSeriesAreBounded(t *testing.T) {
	m := New(testConfig())
	const bound = 4000
	if err := m.Connections.Write(randomRecords(20000)); err != nil {
		t.Fatal(err)
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			n += 1 + len(metric.GetHistogram().GetBucket())
		}
	}
	if n > bound {
		t.Errorf("%d series after random records, want at most %d", n, bound)
	}
	t.Logf("%d series", n)
}

func TestScrape(t *testing.T) {
	m := New(testConfig())
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	for _, p := range problems {
		// Go's own runtime metrics keep names from before the rules.
		if strings.HasPrefix(p.Metric, namespace+"_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	if err != nil {
		t.Error(err)
	}
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	for accept, want := range map[string]string{
		"":                             "text/plain; version=0.0.4",
		"application/openmetrics-text": "text/plain",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited": "application/vnd.google.protobuf",
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if got := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || !strings.HasPrefix(got, want) || len(body) < 1000 {
			t.Errorf("%q: %s %q, %d octets", accept, answer.Status, got, len(body))
		}
	}
}

// The publisher pays no allocation for a record whose kind was met before.
func TestWriteAllocatesNothing(t *testing.T) {
	m := New(testConfig())
	records := append(randomRecords(200), apitest.FourWay(), apitest.Refused(), apitest.HalfClosed(), slice())
	if n := testing.AllocsPerRun(100, func() { _ = m.Connections.Write(records) }); n != 0 {
		t.Errorf("%d records allocate %v times", len(records), n)
	}
}

func BenchmarkWrite(b *testing.B) {
	m := New(testConfig())
	records := []flowtable.Record{apitest.FourWay()}
	b.ReportAllocs()
	for b.Loop() {
		_ = m.Connections.Write(records)
	}
}
