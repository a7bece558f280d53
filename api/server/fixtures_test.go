package server

import (
	"bytes"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/api/query"
	"github.com/finwait/finwait/flowtable"
)

func newRecent(t testing.TB, capacity int) *history.Recent {
	t.Helper()
	h, err := history.NewRecent(capacity, apitest.Names())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func write(t testing.TB, h *history.Recent, records ...flowtable.Record) {
	t.Helper()
	if err := h.Write(records); err != nil {
		t.Fatal(err)
	}
}

func noFilter(t testing.TB) *query.Filter {
	t.Helper()
	f, errs := query.ParseFilter(nil, query.Records, time.Now())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return f
}

// blockedWriter takes nothing between its first flow and leave.
type blockedWriter struct {
	*httptest.ResponseRecorder
	mu             sync.Mutex
	entered, leave chan struct{}
	blocked        bool
}

func (w *blockedWriter) Write(b []byte) (int, error) {
	if !w.blocked && bytes.Contains(b, []byte("event: flow")) {
		w.blocked = true
		close(w.entered)
		<-w.leave
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseRecorder.Write(b)
}

func (w *blockedWriter) Flush() {}

func (w *blockedWriter) body() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Body.String()
}
