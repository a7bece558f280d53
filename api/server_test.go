package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
)

// table is a Live over a slice.
type table struct {
	records []flowtable.Record
	err     error
}

func (l *table) Connections(yield func(*flowtable.Record) bool) error {
	for i := range l.records {
		if !yield(&l.records[i]) {
			break
		}
	}
	return l.err
}

// appliance is what a test server answers from.
type appliance struct {
	recent *Recent
	live   table
	health error
	server *Server
	http   *httptest.Server
}

func newAppliance(t *testing.T, records ...flowtable.Record) *appliance {
	t.Helper()
	a := &appliance{recent: newRecent(t, 1000)}
	write(t, a.recent, records...)
	queue := 0
	server, err := New(Config{
		Version: "1.2.3", History: a.recent, Live: &a.live, Names: testNames(),
		Health: func() error { return a.health },
		Status: func() Status {
			return Status{
				Version: "1.2.3", StartedAt: time.Now().Add(-time.Hour), Workers: 2,
				Interfaces: []InterfaceStatus{{"eth1", "veth", "native", 2}},
				Table:      TableStatus{5, 1000, 296000},
				Totals:     Totals{100, 6000, 20, 4},
				Ledger: []LedgerEntry{
					{"program", "eth1", &queue, "not_ip", 3, false}, {"socket", "eth1", &queue, "ring_full", 2, true}, {"sink", "", nil, "ndjson", 5, true},
				},
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.server, a.http = server, httptest.NewServer(server.Handler())
	t.Cleanup(a.http.Close)
	return a
}

func (a *appliance) request(t *testing.T, method, path string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, a.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := a.http.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

// get reads a JSON answer with exactly the fields of v.
func (a *appliance) get(t *testing.T, path string, v any) {
	t.Helper()
	response, body := a.request(t, http.MethodGet, path)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %s %q %s", path, response.Status, response.Header.Get("Content-Type"), body)
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v in %s", path, err, body)
	}
}

// problemAt reads a problem and checks that body and header agree.
func (a *appliance) problemAt(t *testing.T, method, path string, status int) (detail string, header http.Header) {
	t.Helper()
	response, body := a.request(t, method, path)
	var p struct {
		Title  string
		Status int
		Detail string
	}
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%s: %v in %q", path, err, body)
	}
	if response.StatusCode != status || p.Status != status || p.Title != http.StatusText(status) ||
		response.Header.Get("Content-Type") != problemType {
		t.Errorf("%s %s: %s %q %s, want a problem with status %d", method, path, response.Status, response.Header.Get("Content-Type"), body, status)
	}
	return p.Detail, response.Header
}

// serials of test records, as ports of nobody else.
func portsOf(flows []Flow) []int {
	ports := []int{}
	for i := range flows {
		ports = append(ports, int(flows[i].ClientPort))
	}
	return ports
}

func TestFlows(t *testing.T) {
	a := newAppliance(t, fourWay(), refused(), halfClosed())
	var body flowsBody
	a.get(t, "/v1/flows", &body)
	want := []Flow{}
	for _, r := range []flowtable.Record{halfClosed(), refused(), fourWay()} {
		f := NewFlow(&r, testNames())
		f.Interface = strings.ToValidUTF8(f.Interface, "\ufffd") // as JSON has it
		want = append(want, f)
	}
	if got, want := encode(t, body.Flows), encode(t, want); got != want {
		t.Errorf("flows\n got %s\nwant %s", got, want)
	}
	for query, want := range map[string][]int{
		"":                            {1000, 33036, 40000},
		"limit=2":                     {1000, 33036},
		"limit=10000":                 {1000, 33036, 40000},
		"client=10.0.0.1":             {33036},
		"client=10.0.0.0/30":          {1000, 33036},
		"client=::/0":                 {40000},
		"client=0.0.0.0/0":            {1000, 33036},
		"server=2001:db8:ffff::/48":   {40000},
		"server=192.0.2.10":           {},
		"port=443":                    {40000},
		"port=1000":                   {1000},
		"close_kind=refused":          {33036},
		"close_kind=refused,four_way": {33036, 40000},
		"close_kind=reset&close_kind=four_way,refused": {1000, 33036, 40000},
		"close_kind=":                                        {1000, 33036, 40000},
		"close_initiator=server":                             {33036, 40000},
		"close_initiator=client,server":                      {1000, 33036, 40000},
		"close_initiator=server&client=10.0.0.0/8&port=5672": {33036},
		"since=1h":                              {1000, 33036, 40000},
		"since=-1h&limit=1":                     {1000},
		"since=2001-01-01T00:00:00Z":            {1000, 33036, 40000},
		"since=2199-01-01T00:00:00.000%2B02:00": {},
		"since=2199-01-01T00:00:00.000+02:00":   {},
	} {
		body = flowsBody{}
		a.get(t, "/v1/flows?"+query, &body)
		if got := portsOf(body.Flows); !slices.Equal(got, want) || body.Flows == nil {
			t.Errorf("%q: client ports %v, want %v", query, got, want)
		}
	}
}

func TestFlowsLimit(t *testing.T) {
	a := newAppliance(t, numbered(0, 500)...)
	for query, want := range map[string]int{"": 100, "?limit=1": 1, "?limit=499": 499, "?limit=10000": 500} {
		var body flowsBody
		a.get(t, "/v1/flows"+query, &body)
		if len(body.Flows) != want || body.Flows[0].FlowID != testNames().FlowID(499) {
			t.Errorf("%q: %d flows from %q, want %d from the newest", query, len(body.Flows), body.Flows[0].FlowID, want)
		}
	}
}

func TestConnections(t *testing.T) {
	a := newAppliance(t)
	a.live.records = []flowtable.Record{fourWay(), refused(), halfClosed()}
	for i := range a.live.records {
		a.live.records[i].EndReason = flowtable.EndNone
	}
	for query, want := range map[string][]int{
		"":                                {40000, 33036, 1000},
		"limit=2":                         {40000, 33036},
		"state=TIME-WAIT":                 {40000},
		"state=CLOSE-WAIT,TIME-WAIT":      {40000, 1000},
		"state=FIN-WAIT-2&state=LAST-ACK": {1000},
		"client=10.0.0.0/8&state=CLOSED":  {33036},
		"server=10.0.0.3":                 {1000},
		"port=5672":                       {33036},
	} {
		var body connectionsBody
		a.get(t, "/v1/connections?"+query, &body)
		if got := portsOf(body.Connections); !slices.Equal(got, want) {
			t.Errorf("%q: client ports %v, want %v", query, got, want)
		}
		for _, c := range body.Connections {
			if c.EndReason != "" {
				t.Errorf("%q: end_reason %q of a live connection", query, c.EndReason)
			}
		}
	}
	a.live.err = errors.New("kernel entries: interrupted")
	if detail, _ := a.problemAt(t, http.MethodGet, "/v1/connections", 500); detail != "kernel entries: interrupted" {
		t.Errorf("detail %q", detail)
	}
}

func TestTeardownAgainstASort(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	var records []flowtable.Record
	want := map[string][flowtable.Phases][]int64{}
	counts := map[string]uint64{}
	for range 900 {
		r := randomRecord(rng)
		r.Server.Port = uint16(rng.UintN(3))
		r.VLAN = uint16(rng.UintN(2))
		records = append(records, r)
		if r.EndReason == flowtable.EndActiveTimeout {
			continue
		}
		key := encode(t, map[string]any{"server_port": r.Server.Port, "vlan": r.VLAN})
		sorted := want[key]
		for p := range sorted {
			if ns, ok := r.Phase(flowtable.Phase(p)); ok {
				sorted[p] = append(sorted[p], ns)
			}
		}
		want[key] = sorted
		counts[key]++
	}
	a := newAppliance(t, records...)
	var body Teardown
	a.get(t, "/v1/teardown?group_by=server_port,vlan", &body)
	if len(body.Groups) != len(want) || body.GroupsTotal != len(want) || !slices.Equal(body.GroupBy, []string{"server_port", "vlan"}) {
		t.Fatalf("%d groups by %v, want %d", len(body.Groups), body.GroupBy, len(want))
	}
	sum, last := uint64(0), body.Groups[0].Count
	for _, g := range body.Groups {
		key := encode(t, g.Key)
		if g.Count != counts[key] || g.Count > last {
			t.Errorf("%s: count %d after %d, want %d", key, g.Count, last, counts[key])
		}
		sum, last = sum+g.Count, g.Count
		for p, got := range map[flowtable.Phase]PhaseStats{
			flowtable.FINWait1: g.FINWait1, flowtable.CloseWait: g.Close, flowtable.LastACK: g.LastACK, flowtable.Teardown: g.Teardown,
		} {
			checkStats(t, key+" "+p.String(), got, want[key][p])
		}
	}
	if sum != body.Count {
		t.Errorf("count %d, groups sum up to %d", body.Count, sum)
	}
}

// checkStats holds percentiles against counting: at least so many values are
// not above, and fewer are below.
func checkStats(t *testing.T, what string, got PhaseStats, values []int64) {
	t.Helper()
	if got.Count != uint64(len(values)) || len(values) == 0 {
		t.Errorf("%s: count %d, want %d and some", what, got.Count, len(values))
		return
	}
	for percent, p := range map[int]*int64{50: got.P50NS, 90: got.P90NS, 99: got.P99NS, 100: got.MaxNS} {
		below, notAbove := 0, 0
		for _, v := range values {
			if v < *p {
				below++
			}
			if v <= *p {
				notAbove++
			}
		}
		if 100*notAbove < percent*len(values) || 100*below >= percent*len(values) {
			t.Errorf("%s: p%d %d has %d below and %d not above, of %d", what, percent, *p, below, notAbove, len(values))
		}
	}
}

func TestTeardownGroups(t *testing.T) {
	slice := halfClosed() // a slice of a connection that went on
	ended := halfClosed()
	ended.EndReason = flowtable.EndIdleTimeout
	a := newAppliance(t, fourWay(), fourWay(), refused(), slice, ended)
	for query, want := range map[string]string{
		"":                               `4 1: {} 4`,
		"?group_by=":                     `4 1: {} 4`,
		"?group_by=client":               `4 3: {"client":"2001:db8:1::6"} 2; {"client":"10.0.0.1"} 1; {"client":"10.0.0.2"} 1`,
		"?group_by=server&limit=1":       `4 3: {"server":"2001:db8:ffff::1"} 2`,
		"?group_by=close_kind":           `4 3: {"close_kind":"four_way"} 2; {"close_kind":"refused"} 1; {"close_kind":"reset"} 1`,
		"?group_by=interface&port=5672":  `1 1: {"interface":"7"} 1`,
		"?group_by=vlan&group_by=client": `4 3: {"client":"2001:db8:1::6","vlan":100} 2; {"client":"10.0.0.1","vlan":0} 1; {"client":"10.0.0.2","vlan":0} 1`,
		"?group_by=close_initiator,server_port&close_kind=reset,four_way": `3 2: {"server_port":443,"close_initiator":"server"} 2; {"server_port":2000,"close_initiator":"client"} 1`,
		"?group_by=server&since=2199-01-01T00:00:00Z":                     `0 0: `,
	} {
		var body Teardown
		a.get(t, "/v1/teardown"+query, &body)
		var groups []string
		for _, g := range body.Groups {
			groups = append(groups, encode(t, g.Key)+" "+encode(t, g.Count))
		}
		got := encode(t, body.Count) + " " + encode(t, body.GroupsTotal) + ": " + strings.Join(groups, "; ")
		if got != want {
			t.Errorf("%q\n got %s\nwant %s", query, got, want)
		}
	}
	var body Teardown
	a.get(t, "/v1/teardown?client=10.0.0.1", &body)
	if got, want := encode(t, body.Groups[0].Close), `{"count":0,"p50_ns":null,"p90_ns":null,"p99_ns":null,"max_ns":null}`; got != want {
		t.Errorf("a phase nobody went through: %s", got)
	}
}

func TestStatus(t *testing.T) {
	a := newAppliance(t)
	var body map[string]any
	a.get(t, "/v1/status", &body)
	uptime, started := body["uptime_ns"].(float64), body["started_at"].(string)
	delete(body, "uptime_ns")
	delete(body, "started_at")
	if uptime < 3600e9 || uptime > 7200e9 {
		t.Errorf("uptime %v ns, want an hour", uptime)
	}
	if at, err := time.Parse(time.RFC3339Nano, started); err != nil || !strings.HasSuffix(started, "Z") || time.Since(at) < time.Hour {
		t.Errorf("started_at %q, want an hour ago in UTC", started)
	}
	var want map[string]any
	err := json.Unmarshal([]byte(`{"version":"1.2.3","workers":2,"lost":7,
		"interfaces":[{"name":"eth1","driver":"veth","mode":"native","queues":2}],
		"table":{"connections":5,"capacity":1000,"memory_octets":296000},
		"totals":{"packets":100,"octets":6000,"segments":20,"records":4},
		"ledger":[{"stage":"program","interface":"eth1","queue":0,"reason":"not_ip","count":3,"loss":false},
			{"stage":"socket","interface":"eth1","queue":0,"reason":"ring_full","count":2,"loss":true},
			{"stage":"sink","interface":"","queue":null,"reason":"ndjson","count":5,"loss":true}]}`), &want)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(body, want) {
		t.Errorf("status\n got %v\nwant %v", body, want)
	}
	if got := encode(t, newStatusBody(Status{}, time.Now())); !strings.Contains(got, `"ledger":[]`) || !strings.Contains(got, `"interfaces":[]`) {
		t.Errorf("lists of nothing: %s", got)
	}
}

func TestHealth(t *testing.T) {
	a := newAppliance(t)
	if response, body := a.request(t, http.MethodGet, "/healthz"); response.StatusCode != 200 || string(body) != "{\"status\":\"ok\"}\n" {
		t.Errorf("%s %q", response.Status, body)
	}
	a.health = errors.New(`worker of "eth1" queue 0 stopped`)
	if detail, _ := a.problemAt(t, http.MethodGet, "/healthz", 503); detail != a.health.Error() {
		t.Errorf("detail %q", detail)
	}
}

func TestBadParameters(t *testing.T) {
	a := newAppliance(t, fourWay())
	for path, parameters := range map[string][]string{
		"/v1/flows?client=nobody":                   {"client"},
		"/v1/flows?client=":                         {"client"},
		"/v1/flows?server=10.0.0.0/33":              {"server"},
		"/v1/flows?server=10.0.0.1&server=10.0.0.2": {"server"},
		"/v1/flows?port=0":                          {"port"},
		"/v1/flows?port=65536":                      {"port"},
		"/v1/flows?port=65979":                      {"port"}, // 443 modulo 2^16
		"/v1/flows?port=http":                       {"port"},
		"/v1/flows?port=-1":                         {"port"},
		"/v1/flows?close_kind=polite":               {"close_kind"},
		"/v1/flows?close_kind=reset,,open":          {"close_kind"},
		"/v1/flows?close_kind=reset&close_kind=x":   {"close_kind"},
		"/v1/flows?close_initiator=nobody":          {"close_initiator"},
		"/v1/flows?since=yesterday":                 {"since"},
		"/v1/flows?limit=0":                         {"limit"},
		"/v1/flows?limit=10001":                     {"limit"},
		"/v1/flows?limit=ten":                       {"limit"},
		"/v1/flows?limit=1&limit=2":                 {"limit"},
		"/v1/flows?limt=1":                          {"limt"},
		"/v1/flows?state=TIME-WAIT":                 {"state"},
		"/v1/flows?port=x&since=y&client=z":         {"port", "since", "client"},
		"/v1/connections?state=SLEEPING":            {"state"},
		"/v1/connections?state=time-wait":           {"state"},
		"/v1/connections?limit=-1":                  {"limit"},
		"/v1/connections?client=fe80::1%25eth0":     {"client"},
		"/v1/connections?since=1h":                  {"since"},
		"/v1/teardown?group_by=mood":                {"group_by"},
		"/v1/teardown?group_by=server,server":       {"group_by"},
		"/v1/teardown?group_by=server,client,vlan":  {"group_by"},
		"/v1/teardown?server=x":                     {"server"},
		"/v1/status?verbose=1":                      {"verbose"},
		"/healthz?verbose=1":                        {"verbose"},
	} {
		detail, _ := a.problemAt(t, http.MethodGet, path, 400)
		for _, name := range parameters {
			if !strings.Contains(detail, `parameter "`+name+`": `) {
				t.Errorf("%s: detail %q does not name %q", path, detail, name)
			}
		}
	}
	for _, path := range []string{"/v1/flows?limit=%zz", "/v1/flows?limit=1;port=2"} {
		if detail, _ := a.problemAt(t, http.MethodGet, path, 400); !strings.HasPrefix(detail, "query: ") {
			t.Errorf("%s: detail %q", path, detail)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	a := newAppliance(t)
	for _, path := range []string{"/", "/v1", "/v1/flows/7", "/docs", "/schemas/Flow.json", "/openapi.yaml"} {
		if detail, _ := a.problemAt(t, http.MethodGet, path, 404); !strings.Contains(detail, `"`+path+`"`) {
			t.Errorf("%s: detail %q", path, detail)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodOptions} {
		detail, header := a.problemAt(t, method, "/v1/flows", 405)
		if !strings.Contains(detail, method) || header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: detail %q, allow %q", method, detail, header.Get("Allow"))
		}
		if header.Get("Access-Control-Allow-Origin") != "" {
			t.Error("a foreign page is let in")
		}
	}
	if response, body := a.request(t, http.MethodHead, "/v1/flows"); response.StatusCode != 200 || len(body) != 0 {
		t.Errorf("HEAD: %s %q", response.Status, body)
	}
}

func TestOpenAPI(t *testing.T) {
	a := newAppliance(t)
	response, body := a.request(t, http.MethodGet, "/openapi.json")
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%s %q", response.Status, response.Header.Get("Content-Type"))
	}
	type schema struct {
		Type       any
		Required   []string
		Properties map[string]schema
	}
	var d struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Parameters []struct{ Name, In, Description string }
			Responses  map[string]struct{ Content map[string]any }
		}
		Components struct{ Schemas map[string]schema }
	}
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("openapi %q, want 3.1", d.OpenAPI)
	}
	for path, want := range map[string][]string{
		"/v1/flows":       {"client", "server", "port", "limit", "close_kind", "close_initiator", "since"},
		"/v1/connections": {"client", "server", "port", "limit", "state"},
		"/v1/teardown":    {"client", "server", "port", "limit", "close_kind", "close_initiator", "since", "group_by"},
		"/v1/status":      nil,
		"/healthz":        nil,
	} {
		get := d.Paths[path]["get"]
		var got []string
		for _, p := range get.Parameters {
			got = append(got, p.Name)
			if p.In != "query" || p.Description == "" {
				t.Errorf("%s: parameter %+v", path, p)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: parameters %v, want %v", path, got, want)
		}
		if get.Responses["400"].Content[problemType] == nil || get.Responses["200"].Content["application/json"] == nil {
			t.Errorf("%s: responses %v", path, get.Responses)
		}
		if _, found := get.Responses["422"]; found {
			t.Errorf("%s: a 422 that is never given", path)
		}
	}
	flow := d.Components.Schemas["Flow"]
	if n := reflect.TypeFor[Flow]().NumField(); len(flow.Properties) != n || len(flow.Required) != n {
		t.Errorf("Flow has %d properties, %d of them required; want %d", len(flow.Properties), len(flow.Required), n)
	}
	if got := encode(t, flow.Properties["rst_at"].Type); got != `["string","null"]` {
		t.Errorf("rst_at has type %s", got)
	}
	if got := encode(t, flow.Properties["close_wait_ns"].Type); got != `["integer","null"]` {
		t.Errorf("close_wait_ns has type %s", got)
	}
}

func TestNoAnswerPointsElsewhere(t *testing.T) {
	a := newAppliance(t, fourWay())
	for _, path := range []string{"/v1/flows", "/v1/teardown", "/v1/status", "/v1/connections", "/healthz", "/nowhere"} {
		response, body := a.request(t, http.MethodGet, path)
		if strings.Contains(string(body), "http://") || strings.Contains(string(body), "https://") || strings.Contains(string(body), "$schema") {
			t.Errorf("%s: %s", path, body)
		}
		if response.Header.Get("Link") != "" || response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, response.Header)
		}
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	whole := Config{History: newRecent(t, 1), Live: &table{}, Names: testNames(), Status: func() Status { return Status{} }}
	if _, err := New(whole); err != nil {
		t.Fatal(err)
	}
	for part, without := range map[string]func(*Config){
		"History": func(c *Config) { c.History = nil }, "Live": func(c *Config) { c.Live = nil },
		"Names": func(c *Config) { c.Names = nil }, "Status": func(c *Config) { c.Status = nil },
	} {
		c := whole
		without(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), `"`+part+`"`) {
			t.Errorf("without %s: %v", part, err)
		}
	}
}

// slow is a Live that is asked and answers only when it may.
type slow struct{ asked, answer chan struct{} }

func (l *slow) Connections(func(*flowtable.Record) bool) error {
	close(l.asked)
	<-l.answer
	return nil
}

func TestServeFinishesWhatItBegan(t *testing.T) {
	live := &slow{make(chan struct{}), make(chan struct{})}
	s, err := New(Config{History: newRecent(t, 1), Live: live, Names: testNames(), Status: func() Status { return Status{} }})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served, answered := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	location := (&url.URL{Scheme: "http", Host: listener.Addr().String(), Path: "/v1/connections"}).String()
	go func() {
		response, err := http.Get(location)
		if err == nil {
			err = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				err = errors.New(response.Status)
			}
		}
		answered <- err
	}()
	<-live.asked
	cancel()
	// Once new connections are refused, the shutdown has begun.
	for {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			break
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(live.answer)
	if err := <-answered; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestServeTellsWhyItEnded(t *testing.T) {
	a := newAppliance(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.server.Serve(t.Context(), listener); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), listener.Addr().String()) {
		t.Errorf("serve on a closed listener: %v", err)
	}
}

// Only maxScans requests read at a time; one more gives up with its client.
func TestScansAreBounded(t *testing.T) {
	a := newAppliance(t)
	var held []func()
	for range maxScans {
		done, err := a.server.beginScan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, done)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.server.beginScan(ctx); err == nil {
		t.Error("one more scan than there are places began")
	}
	held[0]()
	done, err := a.server.beginScan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done()
}
