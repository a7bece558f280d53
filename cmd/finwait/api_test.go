package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp/lab"
)

// answerOf reads the JSON answer of a path.
func answerOf[T any](t *testing.T, a *appliance, path string) (answer T) {
	t.Helper()
	body, err := get(t.Context(), a.config.listener.Addr(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %v in %s", path, err, body)
	}
	return answer
}

// linesOf are the first n lines of an answer, or all.
func linesOf(t *testing.T, a *appliance, path, accept string, n int) (list []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.config.listener.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }() // a stream has no end of its own
	for read := bufio.NewScanner(answer.Body); len(list) != n && read.Scan(); {
		list = append(list, read.Text())
	}
	return list
}

// Every question of the API about the connections of the laboratory: what is
// known of them is in every answer.
func TestQuestionsOfTheLab(t *testing.T) {
	s := newSite(t, 1)
	a := s.appliance(func(*applianceConfig) {})
	a.start(t.Context())
	t.Cleanup(func() {
		if err := a.stop(); err != nil { // again, where the test failed
			t.Error(err)
		}
	})
	expected, err := s.Traffic(t.Context(), 300*time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
	waiting, _ := s.connect()
	if err := waiting.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := settle(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	checkWaiting(t, a, waiting.LocalAddr().String())
	if err := a.stop(); err != nil { // every connection is on record now, and the API goes on
		t.Fatal(err)
	}
	all := answerOf[api.FlowsPage](t, a, "/v1/flows?limit=10000").Flows
	if dropped, err := s.Dropped(); err != nil || dropped > 0 {
		t.Fatalf("the hub lost %d frames on their way to the tap, error %v", dropped, err)
	}
	if len(all) != len(expected)+1 {
		t.Fatalf("%d records of %d connections", len(all), len(expected)+1)
	}
	kinds := make(map[string]uint64)
	for i := range all {
		kinds[all[i].CloseKind]++
	}
	checkFlows(t, a, expected, all)
	checkGroups(t, a, all, kinds)
	checkSeriesOfLab(t, a, len(all), kinds)
}

// checkFlows finds each connection by who it is, and all by lines and events.
func checkFlows(t *testing.T, a *appliance, expected []lab.Expectation, all []api.Flow) {
	t.Helper()
	tuples := make(map[lab.Tuple]int)
	for _, e := range expected {
		tuples[e.Tuple]++
	}
	for tuple, n := range tuples {
		q := url.Values{"client": {tuple.ClientIP.String()}, "server": {tuple.ServerIP.String()},
			"client_port": {strconv.Itoa(int(tuple.ClientPort))}, "server_port": {strconv.Itoa(int(tuple.ServerPort))}}
		if found := answerOf[api.FlowsPage](t, a, "/v1/flows?"+q.Encode()).Flows; len(found) < n {
			t.Errorf("%v: %d records, want %d", tuple, len(found), n)
		}
	}
	if one := answerOf[api.Flow](t, a, "/v1/flows/"+all[0].FlowID); one.FlowID != all[0].FlowID || one.StartAt != all[0].StartAt {
		t.Errorf("%s by its flow_id: %+v", all[0].FlowID, one)
	}
	if found := linesOf(t, a, "/v1/flows", "application/x-ndjson", -1); len(found) != len(all) {
		t.Errorf("%d lines of %d records", len(found), len(all))
	}
	events := 0
	for _, line := range linesOf(t, a, "/v1/stream?since=1h", "text/event-stream", 2+4*len(all)) {
		if strings.HasPrefix(line, "event: flow") {
			events++
		}
	}
	if events != len(all) {
		t.Errorf("%d events of %d records", events, len(all))
	}
}

func checkGroups(t *testing.T, a *appliance, all []api.Flow, kinds map[string]uint64) {
	t.Helper()
	teardown := answerOf[api.Teardown](t, a, "/v1/teardown?group_by=close_kind")
	if int(teardown.Count) != len(all) || teardown.GroupsTotal != len(kinds) {
		t.Errorf("teardown of %d in %d groups, want %d in %d", teardown.Count, teardown.GroupsTotal, len(all), len(kinds))
	}
	for _, g := range teardown.Groups {
		if g.Count != kinds[*g.Key.CloseKind] {
			t.Errorf("teardown of %d %s, want %d", g.Count, *g.Key.CloseKind, kinds[*g.Key.CloseKind])
		}
		if *g.Key.CloseKind == flowtable.FourWay.String() && (g.CloseWait.Count != g.Count || *g.CloseWait.P50NS <= 0) {
			t.Errorf("four_way: %+v", g.CloseWait)
		}
	}
	for by, kind := range map[string]flowtable.CloseKind{"resets": flowtable.Reset, "refused": flowtable.Refused, "unanswered": flowtable.Unanswered} {
		if top := answerOf[api.Top](t, a, "/v1/top?group_by=server&by="+by); top.Total != kinds[kind.String()] || top.Total == 0 {
			t.Errorf("top by %s: %d, want %d", by, top.Total, kinds[kind.String()])
		}
	}
	var octets uint64
	for i := range all {
		octets += *all[i].ClientBytes + *all[i].ServerBytes
	}
	if top := answerOf[api.Top](t, a, "/v1/top?by=bytes&group_by=client,server_port"); top.Total != octets {
		t.Errorf("top by bytes: %d, want %d", top.Total, octets)
	}
}

func checkSeriesOfLab(t *testing.T, a *appliance, connections int, kinds map[string]uint64) {
	t.Helper()
	series := answerOf[api.Series](t, a, "/v1/series?since=1m&interval=1s")
	var opens, closes, resets uint64
	for _, p := range series.Points {
		opens, closes, resets = opens+p.Opens, closes+p.Closes, resets+p.Kinds.Reset
	}
	last := series.Points[len(series.Points)-1]
	if int(opens) != connections || int(closes) != connections || resets != kinds[flowtable.Reset.String()] || last.Concurrency != 0 {
		t.Errorf("%d opens, %d closes, %d resets, %d open; want %d, %d, %d, 0", opens, closes, resets, last.Concurrency,
			connections, connections, kinds[flowtable.Reset.String()])
	}
}

// checkWaiting finds the one connection that its server keeps in CLOSE-WAIT.
func checkWaiting(t *testing.T, a *appliance, client string) {
	t.Helper()
	answer := answerOf[api.Connections](t, a, "/v1/connections?state=CLOSE-WAIT&min_close_wait=1s&sort=-close_wait")
	if answer.Total != 1 || len(answer.Connections) != 1 {
		t.Fatalf("%d connections in CLOSE-WAIT, want 1", answer.Total)
	}
	c := answer.Connections[0]
	if address := netip.AddrPortFrom(netip.MustParseAddr(c.ClientIP), c.ClientPort).String(); address != client ||
		c.ServerState != "CLOSE-WAIT" || c.Phase != "close_wait" || *c.PhaseNS < int64(time.Second) || c.EndReason != "" {
		t.Errorf("waiting: %s %s %s %d, want %s", address, c.ServerState, c.Phase, *c.PhaseNS, client)
	}
	if one := answerOf[api.Flow](t, a, "/v1/flows/"+c.FlowID); one.FlowID != c.FlowID || one.EndReason != "" {
		t.Errorf("a live connection by its flow_id: %+v", one)
	}
}
