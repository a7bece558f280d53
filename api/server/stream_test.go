package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/access"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/flowtable"
)

// event is what a reader of the stream gets.
type event struct{ id, name, data string }

// listen reads events until the stream ends.
func (a *appliance) listen(t *testing.T, ctx context.Context, path, lastID string) <-chan event {
	t.Helper()
	response := a.ask(t, ctx, path, "Last-Event-ID", lastID)
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != eventsType {
		t.Fatalf("%s: %s %q", path, response.Status, response.Header.Get("Content-Type"))
	}
	events := make(chan event, 10_000)
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), ": finwait") {
	}
	go func() {
		defer close(events)
		var e event
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e.name != "" {
					events <- e
				}
				e = event{}
			}
		}
	}()
	return events
}

func next(t *testing.T, events <-chan event) event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event in 10 s")
		return event{}
	}
}

func TestStream(t *testing.T) {
	a := newAppliance(t, apitest.Numbered(0, 3)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all := a.listen(t, ctx, "/v1/stream", "")
	resets := a.listen(t, ctx, "/v1/stream?close_kind=reset", "")
	since := a.listen(t, ctx, "/v1/stream?since=1h", "")
	reset := flowtable.Record{Serial: 11, CloseKind: flowtable.Reset}
	write(t, a.recent, append(apitest.Numbered(10, 1), reset)...)
	var last string
	for _, want := range []uint64{10, 11} {
		e := next(t, all)
		var f api.Flow
		if err := json.Unmarshal([]byte(e.data), &f); err != nil || e.name != "flow" || f.FlowID != apitest.Names().FlowID(want) {
			t.Errorf("%+v, want serial %d", e, want)
		}
		if last == "" {
			last = e.id
		}
	}
	if e := next(t, resets); !strings.Contains(e.data, apitest.Names().FlowID(11)) {
		t.Errorf("a filtered stream begins with %+v", e)
	}
	for _, want := range []uint64{0, 1, 2, 10, 11} {
		if e := next(t, since); !strings.Contains(e.data, apitest.Names().FlowID(want)) {
			t.Errorf("a stream since an hour has %+v, want serial %d", e, want)
		}
	}
	if e := next(t, a.listen(t, ctx, "/v1/stream", last)); !strings.Contains(e.data, apitest.Names().FlowID(11)) {
		t.Errorf("after %s comes %+v", last, e)
	}
	// A reader that comes back too late is told how many it missed.
	write(t, a.recent, apitest.Numbered(100, 5000)...)
	var lost api.StreamLost
	e := next(t, a.listen(t, ctx, "/v1/stream", last))
	if err := json.Unmarshal([]byte(e.data), &lost); err != nil || e.name != "lost" || lost.Records < 3000 || lost.Records > 4002 {
		t.Errorf("%+v, want lost", e)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	a := newAppliance(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range maxStreams {
		a.listen(t, ctx, "/v1/stream", "")
	}
	a.problemAt(t, http.MethodGet, "/v1/stream", 503)
	cancel()
	deadline := time.Now().Add(10 * time.Second)
	for len(a.server.streams) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d streams are still served", len(a.server.streams))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The end of the server ends its streams, which have no end of their own.
func TestServeEndsStreams(t *testing.T) {
	a := newAppliance(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gate, err := access.New(access.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- gate.Serve(ctx, listener, a.server.Handler()) }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
	if err := errors.Join(answer.Body.Close(), <-served); err != nil {
		t.Error(err)
	}
}

// A reader that takes nothing loses records, and the writer does not notice.
func TestStreamOfASlowReader(t *testing.T) {
	a := newAppliance(t)
	e := &events{w: httptest.NewRecorder(), out: nil}
	blocked := &blockedWriter{ResponseRecorder: httptest.NewRecorder(), entered: make(chan struct{}), leave: make(chan struct{})}
	e.w, e.out = blocked, http.NewResponseController(blocked)
	q := StreamQuery{RecordsFilter: RecordsFilter{filter: noFilter(t)}}
	batches, err := a.server.follow(t.Context(), &q)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.server.serveEvents(ctx, e, batches) }()
	write(t, a.recent, apitest.Numbered(0, 10)...)
	<-blocked.entered // it is sending, and its reader takes nothing
	write(t, a.recent, apitest.Numbered(10, 9990)...)
	close(blocked.leave)
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(blocked.body(), `"records":`) || !strings.Contains(blocked.body(), apitest.Names().FlowID(9999)) {
		if time.Now().After(deadline) {
			t.Fatalf("the reader was told %.300q", blocked.body())
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-ended
	flows := strings.Count(blocked.body(), "event: flow")
	var lost api.StreamLost
	_, after, _ := strings.Cut(blocked.body(), "event: lost\ndata: ")
	data, _, _ := strings.Cut(after, "\n")
	if err := json.Unmarshal([]byte(data), &lost); err != nil || uint64(flows)+lost.Records != 10_000 {
		t.Errorf("%d events and %d lost of 10000", flows, lost.Records)
	}
}
