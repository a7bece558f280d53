package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/query"
	"github.com/finwait/finwait/flowtable"
)

// everyQuestion has each operation, with parameters of each kind.
var everyQuestion = []string{
	"/v1/flows", "/v1/flows?limit=1", "/v1/flows?client=10.0.0.0/8,2001:db8::/32&port=1000,5000-6000&close_kind=reset&sort=-duration",
	"/v1/flows?min_close_wait=1ms&max_bytes=10G&vlan=100&encapsulation=qinq&close_complete=true&interface=eth1&since=-1h&until=2199-01-01T00:00:00Z",
	"/v1/flows/" + knownFlow, "/v1/flows/nothing",
	"/v1/connections", "/v1/connections?state=CLOSE-WAIT&min_age=1s&sort=-close_wait&limit=5",
	"/v1/teardown", "/v1/teardown?group_by=server,vlan", "/v1/teardown?group_by=client_network&group_by=close_initiator&ipv4_prefix=16&sort=-close_wait",
	"/v1/teardown?group_by=interface,close_kind",
	"/v1/top?by=bytes", "/v1/top?by=close_wait&group_by=server,server_port&limit=3", "/v1/top?by=resets&group_by=client",
	"/v1/series", "/v1/series?since=2m&interval=10s&close_kind=reset", "/v1/status", "/healthz",
	"/v1/flows?limit=0", "/v1/flows?cursor=x", "/v1/series?interval=x", "/v1/top",
}

// knownFlow is the flow_id of apitest.FourWay.
const knownFlow = "000g40o40k30e0000000000004"

func fullAppliance(t *testing.T) *appliance {
	a := newAppliance(t, apitest.FourWay(), apitest.Refused(), apitest.HalfClosed())
	a.live.Records = []flowtable.Record{apitest.FourWay(), apitest.Refused(), apitest.HalfClosed()}
	for i := range a.live.Records {
		a.live.Records[i].EndReason = flowtable.EndNone
		a.live.Records[i].Serial += 1000
	}
	a.live.Records[2].CloseKind, a.live.Records[2].Complete = flowtable.HalfClosed, false
	apitest.At(&a.live.Records[2], flowtable.ACK1At, apitest.Epoch+5)
	a.live.Records[2].Seen &^= 1 << flowtable.RSTAt
	return a
}

// The document is valid OpenAPI 3.1, and every question and answer is what it
// says.
func TestAnswersFitTheDocument(t *testing.T) {
	a := fullAppliance(t)
	_, document := a.request(t, http.MethodGet, "/openapi.json")
	parsed, err := libopenapi.NewDocument(document)
	if err != nil {
		t.Fatal(err)
	}
	if v := parsed.GetVersion(); !strings.HasPrefix(v, "3.1.") {
		t.Errorf("openapi %q, want 3.1", v)
	}
	check, errs := validator.NewValidator(parsed)
	if errs != nil {
		t.Fatal(errs)
	}
	if valid, faults := check.ValidateDocument(); !valid {
		t.Errorf("the document: %s", apitest.Encode(t, faults))
	}
	for _, path := range everyQuestion {
		response, body := a.request(t, http.MethodGet, path)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.http.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode == http.StatusOK {
			if valid, faults := check.ValidateHttpRequest(request); !valid {
				t.Errorf("%s is answered, but not as documented: %s", path, apitest.Encode(t, faults))
			}
		}
		response.Body = io.NopCloser(bytes.NewReader(body))
		if valid, faults := check.ValidateHttpResponse(request, response); !valid {
			t.Errorf("%s: %s\n%s", path, body, apitest.Encode(t, faults))
		}
	}
}

// What the validator would let pass: fields that nobody documents, and
// documented ones that are missing.
func TestAnswersHaveTheirFields(t *testing.T) {
	a := fullAppliance(t)
	for path, body := range map[string]any{
		"/v1/flows": new(api.FlowsPage), "/v1/flows/" + knownFlow: new(api.Flow), "/v1/connections": new(api.Connections),
		"/v1/teardown?group_by=server,close_kind": new(api.Teardown), "/v1/top?by=bytes": new(api.Top), "/v1/series": new(api.Series),
		"/v1/status": new(api.StatusAnswer), "/healthz": new(api.Health),
	} {
		a.get(t, path, body)
		_, raw := a.request(t, http.MethodGet, path)
		var got, want any
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(apitest.Encode(t, body)), &want); err != nil {
			t.Fatal(err)
		}
		forget(got)
		forget(want)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %v\nwant %v", path, got, want)
		}
	}
}

// forget takes out what changes between two answers.
func forget(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			switch name {
			case "uptime_ns", "age_ns", "idle_ns", "phase_ns", "since_at", "until_at", "points", "started_at":
				delete(v, name)
			}
			forget(field)
		}
	case []any:
		for _, element := range v {
			forget(element)
		}
	}
}

type openAPIDocument struct {
	Paths map[string]map[string]struct {
		Parameters []struct{ Name, In, Description string }
		Responses  map[string]struct{ Content map[string]any }
	}
}

func TestEveryParameterIsDocumented(t *testing.T) {
	a := newAppliance(t)
	_, body := a.request(t, http.MethodGet, "/openapi.json")
	var d openAPIDocument
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	filter := func(of query.Scope, more ...string) []string {
		for _, p := range query.Parameters(of) {
			more = append(more, p.Name)
		}
		return more
	}
	for path, want := range map[string][]string{
		"/v1/flows":           filter(query.Records, "sort", "limit", "cursor"),
		"/v1/flows/{flow_id}": {"flow_id"},
		"/v1/connections":     filter(query.Followed, "sort", "limit"),
		"/v1/teardown":        filter(query.Records, "sort", "limit", "group_by", "ipv4_prefix", "ipv6_prefix"),
		"/v1/top":             filter(query.Records, "by", "limit", "group_by", "ipv4_prefix", "ipv6_prefix"),
		"/v1/series":          filter(query.Records, "interval"),
		"/v1/stream":          filter(query.Records, "Last-Event-ID"),
		"/v1/status":          nil, "/healthz": nil,
	} {
		get := d.Paths[path]["get"]
		var got []string
		for _, p := range get.Parameters {
			got = append(got, p.Name)
			if p.Description == "" {
				t.Errorf("%s: parameter %q has no description", path, p.Name)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: parameters %v, want %v", path, got, want)
		}
		if get.Responses["400"].Content[problemType] == nil || len(get.Responses["200"].Content) == 0 {
			t.Errorf("%s: responses %v", path, get.Responses)
		}
		if _, found := get.Responses["422"]; found {
			t.Errorf("%s: a 422 that is never given", path)
		}
		delete(d.Paths, path)
	}
	if len(d.Paths) != 0 {
		t.Errorf("no test of %s", fmt.Sprint(d.Paths))
	}
	// The choices in tags are those of the query package.
	for _, field := range query.GroupFields() {
		a.get(t, "/v1/teardown?group_by="+field, new(api.Teardown))
	}
	for _, order := range query.GroupOrders() {
		a.get(t, "/v1/teardown?sort=-"+order, new(api.Teardown))
	}
	for _, by := range query.Measures() {
		a.get(t, "/v1/top?by="+by, new(api.Top))
	}
	for _, order := range query.Orders(query.Records) {
		a.get(t, "/v1/flows?sort="+order, new(api.FlowsPage))
	}
	for _, order := range query.Orders(query.Followed) {
		a.get(t, "/v1/connections?sort=-"+order, new(api.Connections))
	}
}
