package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/export"
	"github.com/finwait/finwait/api/metrics"
	"github.com/finwait/finwait/flowtable"
)

// BenchmarkPublish hands batches to the sinks that every appliance has, the
// history and the metrics, while streams of the history are read over TCP. In the
// end each reader must have every record, or have been told that it is lost.
func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct {
		name          string
		readers, deaf int
	}{{"readers=0", 0, 0}, {"readers=1", 1, 0}, {"readers=10", 10, 0}, {"deaf=1", 0, 1}} {
		b.Run(c.name, func(b *testing.B) { benchmarkPublish(b, c.readers, c.deaf) })
	}
}

func benchmarkPublish(b *testing.B, readers, deaf int) {
	recent := newRecent(b, 1<<14)
	answers, err := New(Config{History: recent, Live: new(apitest.Live), Names: apitest.Names(), Status: func() api.Status { return api.Status{} }})
	if err != nil {
		b.Fatal(err)
	}
	sinks := export.NewFanout(nil,
		export.Branch{Name: "recent", Sink: recent},
		export.Branch{Name: "metrics", Sink: metrics.New(metrics.Config{}).Connections})
	served := httptest.NewServer(answers.Handler())
	var streams []*reader
	b.Cleanup(func() {
		for _, r := range streams {
			_ = r.conn.Close() // its server finds it gone
		}
		served.Close()
	})
	for range readers + deaf {
		streams = append(streams, newReader(b, served.Listener.Addr().String()))
	}
	for _, r := range streams[:readers] {
		go r.read()
	}
	batch := make([]flowtable.Record, 256)
	for i := range batch {
		batch[i] = apitest.FourWay()
		batch[i].Serial = uint64(i)
	}
	published := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		if err := sinks.Write(batch); err != nil {
			b.Fatal(err)
		}
		published += uint64(len(batch))
	}
	b.ReportMetric(float64(published)/b.Elapsed().Seconds(), "records/s")
	for _, r := range streams[readers:] {
		go r.read()
	}
	lost := uint64(0)
	for _, r := range streams {
		r.await(b, published)
		lost += r.lost.Load()
	}
	if n := uint64(len(streams)); n > 0 {
		b.ReportMetric(100*float64(lost)/float64(n*published), "%lost")
	}
}

// reader reads a stream, and counts what it is told.
type reader struct {
	conn        net.Conn
	lines       *bufio.Reader
	flows, lost atomic.Uint64
}

// newReader returns once the stream is served.
func newReader(b *testing.B, address string) *reader {
	b.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /v1/stream HTTP/1.1\r\nHost: %s\r\n\r\n", address); err != nil {
		b.Fatal(err)
	}
	r := &reader{conn: conn, lines: bufio.NewReaderSize(conn, 64<<10)}
	for {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if strings.HasPrefix(line, ": finwait") {
			return r
		}
	}
}

// read goes on until the connection is closed.
func (r *reader) read() {
	for {
		line, err := r.lines.ReadSlice('\n')
		if err != nil {
			return
		}
		data, found := strings.CutPrefix(string(line[:min(len(line), 64)]), `data: {"`)
		switch {
		case !found:
		case strings.HasPrefix(data, "flow_id"):
			r.flows.Add(1)
		default:
			var lost api.StreamLost
			if json.Unmarshal([]byte(strings.TrimPrefix(string(line), "data: ")), &lost) == nil {
				r.lost.Add(lost.Records)
			}
		}
	}
}

// await waits until so many records have come, or are known to be lost.
func (r *reader) await(b *testing.B, records uint64) {
	b.Helper()
	for end := time.Now().Add(20 * time.Second); r.flows.Load()+r.lost.Load() != records; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%d records came and %d were lost of %d", r.flows.Load(), r.lost.Load(), records)
		}
	}
}
