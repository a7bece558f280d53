package query

import (
	"math/rand/v2"
	"net/netip"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/capacity"
)

const benchRecords = 1_000_000

// manyRecords is a history of connections of 4,000 clients to 50 servers, whose
// phases spread over some decades.
func manyRecords(tb testing.TB, n int) *history.Recent {
	tb.Helper()
	h, err := history.NewRecent(n, apitest.Names())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Free(); err != nil {
			tb.Error(err)
		}
	})
	rng := rand.New(rand.NewPCG(1, 2))
	batch := make([]flowtable.Record, 1000)
	for first := 0; first < n; first += len(batch) {
		for i := range batch[:min(len(batch), n-first)] {
			batch[i] = spreadRecord(rng, first+i)
		}
		if err := h.Write(batch[:min(len(batch), n-first)]); err != nil {
			tb.Fatal(err)
		}
	}
	return h
}

func spreadRecord(rng *rand.Rand, serial int) flowtable.Record {
	r := apitest.FourWay()
	r.Serial, r.StartAt = uint64(serial), apitest.Epoch+int64(serial)*1000
	r.Client.Address = netip.AddrFrom4([4]byte{10, 0, byte(rng.UintN(16)), byte(rng.UintN(250))}).As16()
	r.Server.Address = netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.UintN(256))}).As16()
	r.Client.Port, r.Server.Port = uint16(32768+rng.UintN(28000)), uint16(8000+rng.UintN(4))
	at := r.StartAt
	for m := range flowtable.RSTAt {
		r.At[m] = at
		at += 1 + int64(rng.ExpFloat64()*float64(int64(20_000)<<rng.UintN(10)))
	}
	r.EndAt = at
	if rng.UintN(20) == 0 {
		r.CloseKind = flowtable.Reset
		apitest.At(&r, flowtable.RSTAt, at)
	}
	return r
}

// parse is the filter of a query that has no fault.
func parse(tb testing.TB, text string, of Scope) *Filter {
	tb.Helper()
	values, err := url.ParseQuery(text)
	if err != nil {
		tb.Fatal(err)
	}
	f, errs := ParseFilter(values, of, time.Now())
	for _, err := range errs {
		tb.Fatal(err)
	}
	return f
}

func BenchmarkFlows(b *testing.B) {
	h := manyRecords(b, benchRecords)
	for name, text := range map[string]string{
		"all": "", "client": "client=10.0.3.7", "port-and-kind": "server_port=8001&close_kind=reset",
		"nothing-fits": "min_close_wait=1h", "several": "client=10.0.0.0/8&server=192.0.2.7,192.0.2.9&min_close_wait=100ms&close_kind=four_way",
	} {
		f := parse(b, text, Records)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Flows(b.Context(), h, f, Order{Descending: true}, 100, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	order, err := ParseOrder("-close_wait", Records)
	if err != nil {
		b.Fatal(err)
	}
	f := parse(b, "", Records)
	b.Run("sorted", func(b *testing.B) {
		for b.Loop() {
			if _, err := Flows(b.Context(), h, f, order, 100, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTeardown(b *testing.B) {
	h := manyRecords(b, benchRecords)
	f := parse(b, "", Records)
	for _, by := range [][]string{{}, {"server"}, {"server", "server_port"}, {"client"}, {"client_network"}} {
		name := "all"
		if len(by) > 0 {
			name = by[len(by)-1]
		}
		b.Run(name, func(b *testing.B) {
			defer processorTime(b)()
			for b.Loop() {
				g, err := NewGrouping(by, Networks{24, 64})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Teardown(b.Context(), h, f, g, "-count", 100); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTop(b *testing.B) {
	h := manyRecords(b, benchRecords)
	f := parse(b, "", Records)
	for _, by := range []string{"bytes", "resets", "close_wait"} {
		b.Run(by, func(b *testing.B) {
			for b.Loop() {
				g, err := NewGrouping([]string{"server"}, Networks{24, 64})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Top(b.Context(), h, f, g, by, 10); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// processorTime reports what the process took of the processors, beside the
// time that passed.
func processorTime(b *testing.B) (report func()) {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

func BenchmarkWrite(b *testing.B) {
	h := manyRecords(b, 100_000)
	rng := rand.New(rand.NewPCG(1, 2))
	batch := make([]flowtable.Record, 100)
	for i := range batch {
		batch[i] = spreadRecord(rng, i)
	}
	b.ReportMetric(0, "ns/op")
	records := 0
	for b.Loop() {
		if err := h.Write(batch); err != nil {
			b.Fatal(err)
		}
		records += len(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
}

// BenchmarkConnections asks about connections that stand still.
func BenchmarkConnections(b *testing.B) {
	load, err := capacity.NewEstablished(1_000_000)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = load.Close() }()
	for _, question := range []struct{ name, filter, sort string }{
		{"first-page", "", "-age"}, {"newest", "", "age"}, {"close-wait", "state=CLOSE-WAIT", "-close_wait"}, {"close-wait-age", "state=CLOSE-WAIT", "-age"},
		{"server", "server=198.18.0.0/29", "-age"}, {"servers", "server=198.18.0.0/15&server_port=443", "-age"}, {"everything", "", "-retransmits"},
	} {
		f, o := parse(b, question.filter, Followed), order(b, question.sort, Followed)
		b.Run(question.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Connections(b.Context(), load.Table(), testNames, f, o, 100, time.Now().UnixNano()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
