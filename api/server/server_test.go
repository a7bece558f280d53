package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// appliance is what a test server answers from.

type appliance struct {
	recent *history.Recent
	live   apitest.Live
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
		Version: "1.2.3", History: a.recent, Live: &a.live, Names: apitest.Names(),
		Health: func() error { return a.health },
		Status: func() api.Status {
			return api.Status{
				Version: "1.2.3", StartedAt: time.Now().Add(-time.Hour), Workers: 2, Accounting: "counted",
				Interfaces: []api.InterfaceStatus{{Name: "eth1", Driver: "veth", Mode: "native", Queues: 2}},
				Table:      api.TableStatus{Connections: 5, Capacity: 1000, MemoryOctets: 296000},
				Totals:     api.Totals{Packets: 100, Octets: 6000, Segments: 20, Records: 4},
				Recent:     api.RecentStatus{Records: 4, Capacity: 1000, MemoryOctets: 240000, FromAt: api.WallTime(0), Overwritten: 7},
				Ledger: []api.LedgerEntry{
					{Stage: "program", Interface: "eth1", Queue: &queue, Reason: "not_ip", Count: 3},
					{Stage: "socket", Interface: "eth1", Queue: &queue, Reason: "ring_full", Count: 2, Loss: true},
					{Stage: "sink", Reason: "ndjson", Count: 5, Loss: true},
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
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
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

func TestWhatIsNotThere(t *testing.T) {
	a := newAppliance(t)
	for _, path := range []string{"/page/", "/v1", "/docs", "/schemas/Flow.json", "/openapi.yaml"} {
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

func TestNoAnswerPointsElsewhere(t *testing.T) {
	a := newAppliance(t, apitest.FourWay())
	for _, path := range []string{"/v1/flows", "/v1/teardown", "/v1/status", "/v1/connections", "/healthz", "/nowhere"} {
		response, body := a.request(t, http.MethodGet, path)
		if strings.Contains(string(body), "http://") || strings.Contains(string(body), "https://") || strings.Contains(string(body), "$schema") {
			t.Errorf("%s: %s", path, body)
		}
		if response.Header.Get("Link") != "" {
			t.Errorf("%s: headers %v", path, response.Header)
		}
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	whole := Config{History: newRecent(t, 1), Live: &apitest.Live{}, Names: apitest.Names(), Status: func() api.Status { return api.Status{} }}
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

// Only maxScans requests read at a time, and maxWaiting more wait; the others
// are told when to ask again.
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
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	for range maxWaiting {
		go func() { _, err := a.server.beginScan(ctx); left <- err }()
	}
	for len(a.server.scans.waiting) < maxWaiting {
		time.Sleep(time.Millisecond)
	}
	detail, header := a.problemAt(t, http.MethodGet, "/v1/flows", http.StatusServiceUnavailable)
	if header.Get("Retry-After") != retryAfter || !strings.Contains(detail, "ask again") {
		t.Errorf("detail %q, Retry-After %q", detail, header.Get("Retry-After"))
	}
	leave()
	for range maxWaiting {
		if err := <-left; err == nil {
			t.Error("one more scan than there are places began")
		}
	}
	began := make(chan error)
	go func() { _, err := a.server.beginScan(t.Context()); began <- err }()
	held[0]()
	if err := <-began; err != nil {
		t.Errorf("a place that was given back: %v", err)
	}
}
