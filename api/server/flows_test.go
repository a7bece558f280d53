package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
)

// ask requests a path with a header, and leaves the body to be read.
func (a *appliance) ask(t *testing.T, ctx context.Context, path, header, value string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(header, value)
	response, err := a.http.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() }) // it may be closed already
	return response
}

func TestPagesOverHTTP(t *testing.T) {
	a := newAppliance(t, apitest.Numbered(0, 250)...)
	path, next := "/v1/flows?limit=100&sort=-published_at", 249
	for page, cursor := 0, ""; page < 3; page++ {
		var body api.FlowsPage
		a.get(t, path+cursor, &body)
		write(t, a.recent, apitest.Numbered(1000+page, 1)...)
		for _, f := range body.Flows {
			if f.FlowID != apitest.Names().FlowID(uint64(next)) {
				t.Fatalf("page %d: %s, want serial %d", page, f.FlowID, next)
			}
			next--
		}
		if (body.NextCursor == nil) != (page == 2) {
			t.Fatalf("page %d: cursor %v", page, body.NextCursor)
		}
		if body.NextCursor != nil {
			cursor = "&cursor=" + *body.NextCursor
		}
	}
	if next != -1 {
		t.Errorf("the pages ended at %d", next)
	}
	var first api.FlowsPage
	a.get(t, path, &first)
	write(t, a.recent, apitest.Numbered(0, 3000)...) // more than are kept
	if detail, _ := a.problemAt(t, http.MethodGet, path+"&cursor="+*first.NextCursor, 410); !strings.Contains(detail, "cursor") {
		t.Errorf("detail %q", detail)
	}
}

func TestFlowByID(t *testing.T) {
	a := fullAppliance(t)
	for id, reason := range map[string]string{knownFlow: "closed", apitest.Names().FlowID(1001): ""} {
		var f api.Flow
		a.get(t, "/v1/flows/"+id, &f)
		if f.FlowID != id || f.EndReason != reason {
			t.Errorf("%s: %s %q, want %q", id, f.FlowID, f.EndReason, reason)
		}
	}
	for _, id := range []string{"x", strings.Repeat("0", 26), apitest.Names().FlowID(77)} {
		if detail, _ := a.problemAt(t, http.MethodGet, "/v1/flows/"+id, 404); !strings.Contains(detail, id) {
			t.Errorf("%s: detail %q", id, detail)
		}
	}
}

func TestLines(t *testing.T) {
	a := newAppliance(t, apitest.Numbered(0, 700)...)
	for path, want := range map[string][]int{
		"/v1/flows": {699, 0}, "/v1/flows?sort=published_at": {0, 699}, "/v1/flows?limit=5": {699, 695}, "/v1/flows?close_kind=reset": nil,
	} {
		response := a.ask(t, t.Context(), path, "Accept", "application/json;q=0.5, application/x-ndjson")
		if response.StatusCode != 200 || response.Header.Get("Content-Type") != ndjsonType {
			t.Fatalf("%s: %s %q", path, response.Status, response.Header.Get("Content-Type"))
		}
		var ids []string
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			var f api.Flow
			if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
				t.Fatalf("%s: %v in %q", path, err, lines.Text())
			}
			ids = append(ids, f.FlowID)
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		n := 0
		if want != nil {
			n = max(want[0], want[1]) - min(want[0], want[1]) + 1
		}
		if len(ids) != n || n > 0 && (ids[0] != apitest.Names().FlowID(uint64(want[0])) || ids[n-1] != apitest.Names().FlowID(uint64(want[1]))) {
			t.Errorf("%s: %d lines, want %v", path, len(ids), want)
		}
		if got := response.Trailer.Get(flowsTrailer); got != fmt.Sprint(n) || response.Trailer.Get(overwrittenTrailer) != "0" {
			t.Errorf("%s: trailers %v", path, response.Trailer)
		}
	}
	for path, name := range map[string]string{"/v1/flows?sort=bytes": "sort", "/v1/flows?cursor=AAAA": "cursor"} {
		response := a.ask(t, t.Context(), path, "Accept", ndjsonType)
		if response.StatusCode != 400 {
			t.Errorf("%s: %s for %s", path, response.Status, name)
		}
	}
	if response := a.ask(t, t.Context(), "/v1/flows?limit=1", "Accept", "application/x-ndjson;q=0, */*"); response.Header.Get("Content-Type") != jsonType {
		t.Errorf("lines that were refused: %q", response.Header.Get("Content-Type"))
	}
}

// A reader that goes away ends the scan; one that waits holds nothing.
func TestLinesOfASlowReader(t *testing.T) {
	a := newAppliance(t)
	big := apitest.Numbered(0, 30_000)
	a.recent.SetClock(time.Now)
	grown := newRecent(t, 30_000)
	write(t, grown, big...)
	a.server.config.History = grown
	response := a.ask(t, t.Context(), "/v1/flows", "Accept", ndjsonType)
	first := bufio.NewReader(response.Body)
	if _, err := first.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	for range maxScans + 1 { // it does not hold a place to scan
		a.get(t, "/v1/flows?limit=1", new(api.FlowsPage))
	}
	write(t, grown, big...) // nor any block
	lines := 1
	for {
		if _, err := first.ReadString('\n'); err != nil {
			break
		}
		lines++
	}
	overwritten := response.Trailer.Get(overwrittenTrailer)
	if got := fmt.Sprint(30_000 - lines); overwritten != got || got == "0" {
		t.Errorf("%d lines and %q overwritten of 30000", lines, overwritten)
	}
}
