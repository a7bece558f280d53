package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/flowtable"
)

func portsOf(flows []api.Flow) []int {
	ports := []int{}
	for i := range flows {
		ports = append(ports, int(flows[i].ClientPort))
	}
	return ports
}

func TestFlows(t *testing.T) {
	a := newAppliance(t, apitest.FourWay(), apitest.Refused(), apitest.HalfClosed())
	var body api.FlowsPage
	a.get(t, "/v1/flows", &body)
	want := []api.Flow{}
	for _, r := range []flowtable.Record{apitest.HalfClosed(), apitest.Refused(), apitest.FourWay()} {
		f := api.NewFlow(&r, apitest.Names())
		f.Interface = strings.ToValidUTF8(f.Interface, "\ufffd") // as JSON has it
		want = append(want, f)
	}
	if got, want := apitest.Encode(t, body.Flows), apitest.Encode(t, want); got != want {
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
		"close_kind=reset&close_kind=four_way,refused":       {1000, 33036, 40000},
		"close_initiator=server":                             {33036, 40000},
		"close_initiator=client,server":                      {1000, 33036, 40000},
		"close_initiator=server&client=10.0.0.0/8&port=5672": {33036},
		"since=1h":                              {1000, 33036, 40000},
		"since=-1h&limit=1":                     {1000},
		"since=2001-01-01T00:00:00Z":            {1000, 33036, 40000},
		"since=2199-01-01T00:00:00.000%2B02:00": {},
		"since=2199-01-01T00:00:00.000+02:00":   {},
	} {
		body = api.FlowsPage{}
		a.get(t, "/v1/flows?"+query, &body)
		if got := portsOf(body.Flows); !slices.Equal(got, want) || body.Flows == nil {
			t.Errorf("%q: client ports %v, want %v", query, got, want)
		}
	}
}

func TestFlowsLimit(t *testing.T) {
	a := newAppliance(t, apitest.Numbered(0, 500)...)
	for query, want := range map[string]int{"": 100, "?limit=1": 1, "?limit=499": 499, "?limit=10000": 500} {
		var body api.FlowsPage
		a.get(t, "/v1/flows"+query, &body)
		if len(body.Flows) != want || body.Flows[0].FlowID != apitest.Names().FlowID(499) {
			t.Errorf("%q: %d flows from %q, want %d from the newest", query, len(body.Flows), body.Flows[0].FlowID, want)
		}
	}
}

func TestConnections(t *testing.T) {
	a := newAppliance(t)
	a.live.Records = []flowtable.Record{apitest.FourWay(), apitest.Refused(), apitest.HalfClosed()}
	for i := range a.live.Records {
		a.live.Records[i].EndReason = flowtable.EndNone
	}
	for query, want := range map[string][]int{
		"":                                {33036, 1000, 40000},
		"limit=2":                         {33036, 1000},
		"state=TIME-WAIT":                 {40000},
		"state=CLOSE-WAIT,TIME-WAIT":      {1000, 40000},
		"state=FIN-WAIT-2&state=LAST-ACK": {1000},
		"client=10.0.0.0/8&state=CLOSED":  {33036},
		"server=10.0.0.3":                 {1000},
		"port=5672":                       {33036},
	} {
		var body api.Connections
		a.get(t, "/v1/connections?"+query, &body)
		var flows []api.Flow
		for i := range body.Connections {
			flows = append(flows, body.Connections[i].Flow)
		}
		if got := portsOf(flows); !slices.Equal(got, want) {
			t.Errorf("%q: client ports %v, want %v", query, got, want)
		}
		for _, c := range body.Connections {
			if c.EndReason != "" {
				t.Errorf("%q: end_reason %q of a live connection", query, c.EndReason)
			}
		}
	}
	a.server.patience = time.Millisecond
	a.live.During = func() { time.Sleep(20 * time.Millisecond) }
	if detail, _ := a.problemAt(t, http.MethodGet, "/v1/connections", 503); !strings.Contains(detail, "longer than 1ms; filter by") {
		t.Errorf("detail %q", detail)
	}
	a.server.patience, a.live.During = lookPatience, nil
	a.live.Err = errors.New("kernel entries: interrupted")
	if detail, _ := a.problemAt(t, http.MethodGet, "/v1/connections", 500); detail != "kernel entries: interrupted" {
		t.Errorf("detail %q", detail)
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
	err := json.Unmarshal([]byte(`{"version":"1.2.3","workers":2,"accounting":"counted","lost":7,
		"interfaces":[{"name":"eth1","driver":"veth","mode":"native","queues":2}],
		"table":{"connections":5,"capacity":1000,"memory_octets":296000},
		"recent":{"records":4,"capacity":1000,"memory_octets":240000,"from_at":"1970-01-01T00:00:00.000000000Z","overwritten":7},
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
	if got := apitest.Encode(t, api.NewStatusAnswer(api.Status{}, time.Now())); !strings.Contains(got, `"ledger":[]`) || !strings.Contains(got, `"interfaces":[]`) {
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
	a := newAppliance(t, apitest.FourWay())
	for path, parameters := range map[string][]string{
		"/v1/flows?client=nobody":                  {"client"},
		"/v1/flows?client=":                        {"client"},
		"/v1/flows?server=10.0.0.0/33":             {"server"},
		"/v1/flows?port=65536":                     {"port"},
		"/v1/flows?port=65979":                     {"port"}, // 443 modulo 2^16
		"/v1/flows?port=http":                      {"port"},
		"/v1/flows?port=-1":                        {"port"},
		"/v1/flows?close_kind=polite":              {"close_kind"},
		"/v1/flows?close_kind=reset,,open":         {"close_kind"},
		"/v1/flows?close_kind=reset&close_kind=x":  {"close_kind"},
		"/v1/flows?close_initiator=nobody":         {"close_initiator"},
		"/v1/flows?since=yesterday":                {"since"},
		"/v1/flows?limit=0":                        {"limit"},
		"/v1/flows?limit=10001":                    {"limit"},
		"/v1/flows?limit=ten":                      {"limit"},
		"/v1/flows?limit=1&limit=2":                {"limit"},
		"/v1/flows?limt=1":                         {"limt"},
		"/v1/flows?limt=1&lim=2":                   {"limt", "lim"},
		"/v1/flows?min_close_wait=5":               {"min_close_wait"},
		"/v1/flows?min_age=5s":                     {"min_age"},
		"/v1/flows?sort=age":                       {"sort"},
		"/v1/flows?sort=--bytes":                   {"sort"},
		"/v1/flows?cursor=x":                       {"cursor"},
		"/v1/connections?sort=published_at":        {"sort"},
		"/v1/connections?cursor=x":                 {"cursor"},
		"/v1/connections?end_reason=closed":        {"end_reason"},
		"/v1/teardown?ipv4_prefix=33":              {"ipv4_prefix"},
		"/v1/teardown?sort=bytes":                  {"sort"},
		"/v1/top?by=fame":                          {"by"},
		"/v1/top":                                  {"by"},
		"/v1/series?interval=10":                   {"interval"},
		"/v1/series?since=1700-01-01T00:00:00Z":    {"since"},
		"/v1/series?interval=1us":                  {"interval"},
		"/v1/series?since=24h&interval=1s":         {"since"},
		"/v1/stream?limit=1":                       {"limit"},
		"/v1/flows/x?limit=1":                      {"limit"},
		"/v1/flows?port=x&since=y&client=z":        {"port", "since", "client"},
		"/v1/connections?state=SLEEPING":           {"state"},
		"/v1/connections?state=time-wait":          {"state"},
		"/v1/connections?limit=-1":                 {"limit"},
		"/v1/connections?client=fe80::1%25eth0":    {"client"},
		"/v1/connections?since=1h":                 {"since"},
		"/v1/teardown?group_by=mood":               {"group_by"},
		"/v1/teardown?group_by=server,server":      {"group_by"},
		"/v1/teardown?group_by=server,client,vlan": {"group_by"},
		"/v1/teardown?server=x":                    {"server"},
		"/v1/status?verbose=1":                     {"verbose"},
		"/healthz?verbose=1":                       {"verbose"},
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
