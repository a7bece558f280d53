//go:build interop

package dashboard_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/api/server"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// site is a server with records, as an appliance has it.
type site struct {
	*httptest.Server
	recent *history.Recent
	names  *api.Names
	live   apitest.Live // its connections that are followed
	lost   atomic.Uint64
	token  string // "" for none
	end    context.CancelFunc

	streams   atomic.Int64 // that are served now
	refusing  atomic.Bool  // no stream is to be had
	holding   atomic.Bool  // answers about resets wait, until nobody wants them any more
	givenUp   atomic.Int64 // of these
	cutStream atomic.Pointer[context.CancelFunc]

	known   []known // and their records
	records []flowtable.Record
}

func newSite(t *testing.T, records ...flowtable.Record) *site {
	t.Helper()
	s := &site{names: api.NewNames(nil, func(uint32) string { return "eth1" })}
	var err error
	if s.recent, err = history.NewRecent(20000, s.names); err != nil {
		t.Fatal(err)
	}
	s.write(t, records...)
	answers, err := server.New(server.Config{Version: "1.2.3", History: s.recent, Live: &s.live, Names: s.names, Status: s.status})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	s.Server = httptest.NewUnstartedServer(s.beside(answers.Handler()))
	s.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.Start()
	t.Cleanup(s.stop)
	return s
}

// stop ends the streams, for which the server would wait, and the server.
func (s *site) stop() {
	s.end()
	s.CloseClientConnections()
	s.Close()
}

// knownSite has a connection of every kind, and one that waits now.
func knownSite(t *testing.T) *site {
	t.Helper()
	list := everyKind()
	all := records(list)
	s := newSite(t, all...)
	s.known, s.records = list, all
	k := waiting()
	s.live.Records = []flowtable.Record{connection(100, k.kind, k.moments, k.change)}
	return s
}

func (s *site) write(t *testing.T, records ...flowtable.Record) {
	t.Helper()
	if err := s.recent.Write(records); err != nil {
		t.Fatal(err)
	}
}

func (s *site) status() api.Status {
	queue := 1
	return api.Status{
		Version: "1.2.3", StartedAt: time.Now().Add(-time.Hour), Workers: 2, Accounting: "counted",
		Interfaces: []api.InterfaceStatus{{Name: "eth1", Driver: "veth", Mode: "native", Queues: 2}},
		Table:      api.TableStatus{Connections: uint64(len(s.live.Records)), Capacity: 1000},
		Totals:     api.Totals{Packets: 1000, Octets: 70000, Segments: 90, Records: 10},
		Ledger: []api.LedgerEntry{
			{Stage: "program", Interface: "eth1", Reason: "frames", Count: 1000},
			{Stage: "socket", Interface: "eth1", Queue: &queue, Reason: "ring_full", Count: s.lost.Load(), Loss: true},
		},
	}
}

// beside serves the cases of the page's modules too, and asks for the token.
func (s *site) beside(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, cases := strings.CutPrefix(r.URL.Path, "/test/"); cases {
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			http.ServeFile(w, r, path.Join("testdata", name))
			return
		}
		if s.token != "" && strings.HasPrefix(r.URL.Path, "/v1/") && r.Header.Get("Authorization") != "Bearer "+s.token {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"title":"Unauthorized","status":401,"detail":"a token is needed"}`))
			return
		}
		if s.holding.Load() && r.URL.Path == "/v1/flows" && r.URL.Query().Get("close_kind") == "reset" {
			<-r.Context().Done()
			s.givenUp.Add(1)
			return
		}
		if r.URL.Path == "/v1/stream" {
			s.serveStream(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serveStream serves one that can be cut off, and is counted.
func (s *site) serveStream(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if s.refusing.Load() {
		http.Error(w, "no stream", http.StatusServiceUnavailable)
		return
	}
	ctx, cut := context.WithCancel(r.Context())
	defer cut()
	s.cutStream.Store(&cut)
	s.streams.Add(1)
	defer s.streams.Add(-1)
	next.ServeHTTP(w, r.WithContext(ctx))
}

// known is a connection, and what its diagram has and says.
type known struct {
	kind     flowtable.CloseKind
	moments  moments
	change   func(*flowtable.Record)
	segments string
	headline string
}

const ms = int64(time.Millisecond)

// connection is a record of moments, in ns after its start, changed.
func connection(serial uint64, kind flowtable.CloseKind, moments moments, change func(*flowtable.Record)) flowtable.Record {
	start := time.Now().Add(-time.Minute).UnixNano()
	flags := uint8(segment.SYN | segment.ACK | segment.FIN)
	r := flowtable.Record{
		Serial: serial, StartAt: start, EndAt: start, OrientedBy: flowtable.BySYN, Evidence: flowtable.Full, CloseKind: kind,
		EndReason: flowtable.EndClosed, Complete: true,
		Client: flowtable.Side{
			Address: apitest.Address("192.0.2.1"), Port: 40000 + uint16(serial), Packets: 6, Octets: 700, Payload: 300,
			TCPFlags: flags, State: flowtable.StateClosed,
		},
		Server: flowtable.Side{
			Address: apitest.Address("192.0.2.2"), Port: 8080, Packets: 5, Octets: 900, Payload: 500,
			TCPFlags: flags, State: flowtable.StateClosed,
		},
	}
	for m, ns := range moments {
		apitest.At(&r, m, start+ns)
		r.EndAt = max(r.EndAt, start+ns)
	}
	change(&r)
	return r
}

type moments = map[flowtable.Moment]int64

// opened are the moments of the handshake and, in ms after it began, of the
// waves that were seen: FIN1, ACK1, FIN2, ACK2, and a RST; 0 for those that
// were not.
func opened(waves ...int64) moments {
	m := moments{flowtable.SYNAt: 0, flowtable.SYNACKAt: 50_000, flowtable.EstablishedAt: 90_000}
	for i, at := range waves {
		if at > 0 {
			m[flowtable.FIN1At+flowtable.Moment(i)] = at * ms
		}
	}
	return m
}

// closed sets who closed, and the states that both sides ended in.
func closed(by flowtable.Party, client, server flowtable.State) func(*flowtable.Record) {
	return func(r *flowtable.Record) { r.Initiator, r.Client.State, r.Server.State = by, client, server }
}

// reset sets who closed and who sent the RST.
func reset(initiator, by flowtable.Party) func(*flowtable.Record) {
	return func(r *flowtable.Record) { r.Initiator, r.RSTBy = initiator, by }
}

// idle makes a record that was written since nothing came any more.
func idle(change func(*flowtable.Record)) func(*flowtable.Record) {
	return func(r *flowtable.Record) {
		r.Complete, r.EndReason, r.EndAt = false, flowtable.EndIdleTimeout, r.EndAt+3000*ms
		change(r)
	}
}

// silent makes a connection whose server never sent anything.
func silent(r *flowtable.Record) {
	r.Evidence, r.Client.SYNRetransmits, r.Client.State = flowtable.OneSided, 2, flowtable.StateSYNSent
	r.Server = flowtable.Side{Address: r.Server.Address, Port: r.Server.Port}
}

// midway makes a connection that was joined midway and accounted by sequence.
func midway(r *flowtable.Record) {
	closed(flowtable.Client, flowtable.StateTimeWait, flowtable.StateClosed)(r)
	r.Evidence, r.OrientedBy, r.Accounting = flowtable.Midstream, flowtable.ByPort, flowtable.AccountingSequence
}

// everyKind is a connection of every kind of close, and one joined midway.
func everyKind() []known {
	const client, server, nobody = flowtable.Client, flowtable.Server, flowtable.Nobody
	const timeWait, over = flowtable.StateTimeWait, flowtable.StateClosed
	list := []known{
		{flowtable.FourWay, opened(5, 6, 30006, 30007), closed(client, timeWait, over),
			"SYN, SYN-ACK, ACK, FIN1, ACK1, FIN2, ACK2", "The server’s application took 30 s in CLOSE-WAIT, nearly all of the teardown."},
		{flowtable.ThreeWay, opened(5, 6, 6, 7), closed(server, over, timeWait),
			"SYN, SYN-ACK, ACK, FIN1, ACK1 + FIN2, ACK2", "The network and the client’s kernel took 1 ms in FIN-WAIT-1, 50.0 % of the teardown’s 2 ms."},
		{flowtable.Simultaneous, opened(5, 9, 6, 7), closed(client, timeWait, timeWait),
			"SYN, SYN-ACK, ACK, FIN1, FIN2, ACK2, ACK1", "The network and the server’s kernel took 4 ms in FIN-WAIT-1."},
		{flowtable.Reset, opened(5, 6, 0, 0, 8), reset(client, server),
			"SYN, SYN-ACK, ACK, FIN1, ACK1, RST", "The server reset the connection 3 ms after the client’s FIN."},
		{flowtable.Refused, moments{flowtable.SYNAt: 0, flowtable.RSTAt: ms}, reset(server, server),
			"SYN, RST", "The server refused the connection: nothing listens on its port, or a firewall answers so."},
		{flowtable.HalfClosed, opened(5, 6), idle(closed(client, flowtable.StateFINWait2, flowtable.StateCloseWait)),
			"SYN, SYN-ACK, ACK, FIN1, ACK1", "The server’s application had not closed when the record was written: it sat in CLOSE-WAIT."},
		{flowtable.Unanswered, moments{flowtable.SYNAt: 0}, idle(silent),
			"SYN sent 3×", "Nothing answered the client’s SYN, which was sent again twice."},
		{flowtable.HalfOpen, moments{flowtable.SYNAt: 0, flowtable.SYNACKAt: ms}, idle(closed(nobody, flowtable.StateSYNSent, flowtable.StateSYNReceived)),
			"SYN, SYN-ACK", "The client never answered the SYN-ACK."},
		{flowtable.Open, opened(), idle(closed(nobody, flowtable.StateEstablished, flowtable.StateEstablished)),
			"SYN, SYN-ACK, ACK", "The connection was still open when the record was written."},
		{flowtable.FourWay, moments{flowtable.FIN1At: 5 * ms, flowtable.FIN2At: 8 * ms, flowtable.ACK2At: 8*ms + 9000}, midway,
			"FIN1, FIN2, ACK2", "The network and the client’s kernel took 9 µs in LAST-ACK, 0.3 % of the teardown’s 3.01 ms."},
	}
	return list
}

// records are those of a list; their serial numbers count from 1.
func records(list []known) []flowtable.Record {
	all := make([]flowtable.Record, 0, len(list))
	for i, k := range list {
		all = append(all, connection(uint64(i+1), k.kind, k.moments, k.change))
	}
	return all
}

// waiting is a connection whose server sits in CLOSE-WAIT.
func waiting() known {
	open := func(r *flowtable.Record) {
		closed(flowtable.Client, flowtable.StateFINWait2, flowtable.StateCloseWait)(r)
		r.Complete, r.EndReason = false, flowtable.EndNone
	}
	return known{flowtable.HalfClosed, opened(5, 6), open,
		"SYN, SYN-ACK, ACK, FIN1, ACK1", "The server’s application has not closed yet: it sits in CLOSE-WAIT for "}
}

// flowURL is that of the page with a record opened.
func (s *site) flowURL(r *flowtable.Record) string {
	return s.URL + "/?flow=" + s.names.FlowID(r.Serial)
}
