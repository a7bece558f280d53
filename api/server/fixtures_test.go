package server

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/history"
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

func numbered(first, n int) []flowtable.Record {
	records := make([]flowtable.Record, n)
	for i := range records {
		records[i].Serial = uint64(first + i)
	}
	return records
}

func encode(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
