package watch

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

// fake is an appliance that says the same each time, or that it cannot.
type fake struct {
	err     error
	queries []string
}

func (*fake) Server() string { return "http://192.0.2.1:8480" }

func (f *fake) Get(_ context.Context, path string, query url.Values, v any) error {
	f.queries = append(f.queries, path+"?"+query.Encode())
	if f.err != nil {
		return f.err
	}
	return json.Unmarshal([]byte(map[string]string{
		"/v1/status": `{"version":"1.2.3","uptime_ns":7380000000000,"table":{"connections":319},"lost":37,"ledger":[
			{"stage":"program","reason":"not_ip","count":5,"loss":false},
			{"stage":"socket","reason":"rx_dropped","count":7,"loss":true},
			{"stage":"socket","reason":"rx_ring\u001b[2J_full","count":30,"loss":true},
			{"stage":"nic","reason":"rx_missed","count":0,"loss":true}]}`,
		"/v1/series": `{"interval_ns":5000000000,"points":[
			{"at":"2026-11-26T22:00:00Z","complete":true,"opens":100,"closes":90,"concurrency":10,"kinds":{"four_way":60,"reset":30}},
			{"at":"2026-11-26T22:00:05Z","complete":true,"opens":200,"closes":10,"concurrency":200,"kinds":{"four_way":5,"refused":5}},
			{"at":"2026-11-26T22:00:10Z","complete":true,"opens":400,"closes":40,"concurrency":560,"kinds":{"four_way":40}},
			{"at":"2026-11-26T22:00:15Z","partial":true,"opens":1,"closes":0,"concurrency":561,"kinds":{}}]}`,
		"/v1/teardown": `{"count":140,"groups":[{"count":140,"fin_wait_1":{"count":140,"p50_ns":41000,"p90_ns":60000,"p99_ns":410000,"max_ns":2000000},
			"close_wait":{"count":105,"p50_ns":1250000,"p90_ns":6830000,"p99_ns":30000000000,"max_ns":31000000000},
			"last_ack":{"count":0,"p50_ns":null,"p90_ns":null,"p99_ns":null,"max_ns":null},"teardown":{"count":0}}]}`,
		"/v1/connections": `{"total":12,"followed":319,"connections":[
			{"client_ip":"10.0.0.1","client_port":40000,"server_ip":"10.0.0.7","server_port":8080,"client_state":"FIN-WAIT-2","server_state":"CLOSE-WAIT","phase_ns":30100000000,"idle_ns":30000000000,"client_payload_bytes":1500},
			{"client_ip":"10.0.0.2","client_port":40001,"server_ip":"10.0.0.8","server_port":443,"client_state":"CLOSE-WAIT","server_state":"FIN-WAIT-2","phase_ns":20000000000,"idle_ns":10,"client_payload_bytes":1}]}`,
	}[path]), v)
}

func newModel(f *fake) *model {
	return &model{
		config: Config{Appliance: f, Filters: url.Values{"server": {"10.0.0.0/8"}}, Interval: time.Millisecond, Explain: func(err error) error { return err }},
		ctx:    context.Background(), screen: screen{server: f.Server(), window: windows[0], width: 80, height: 24},
	}
}

// text is the screen without colours.
func (m *model) text() string {
	var b strings.Builder
	for _, line := range m.screen.lines() {
		b.WriteString(strip(line) + "\n")
	}
	return b.String()
}

// strip takes the sequences for colours (ECMA-48 SGR) out of a line.
func strip(line string) string {
	for {
		from := strings.Index(line, "\x1b[")
		if from < 0 {
			return line
		}
		line = line[:from] + line[from+strings.IndexByte(line[from:], 'm')+1:]
	}
}

func TestView(t *testing.T) {
	f := new(fake)
	m := newModel(f)
	if got := m.text(); !strings.Contains(got, "asking") || !strings.Contains(got, "q quit") {
		t.Errorf("before the first answer:\n%s", got)
	}
	m.Update(m.ask()())
	for _, want := range []string{
		"/v1/series?interval=1s&server=10.0.0.0%2F8&since=-1m0s", "/v1/teardown?server=10.0.0.0%2F8&since=-1m0s", "/v1/status?",
		"/v1/connections?limit=60&server=10.0.0.0%2F8&sort=-close_wait&state=CLOSE-WAIT",
	} {
		if !strings.Contains(strings.Join(f.queries, "\n"), want) {
			t.Errorf("it did not ask %s: %q", want, f.queries)
		}
	}
	got := m.text()
	for _, want := range []string{
		"finwait  http://192.0.2.1:8480  up 2h3m  319 followed\n",
		" LOST 37: socket rx_ring?[2J_full 30, socket rx_dropped 7 \n",
		"opens 60/s  closes 5.0/s  resets 0/s  refused 0.5/s  unanswered 0/s\n", // of the last two whole intervals
		"opens  ▃▅█▁\n", "open   ▁▃██ 561\n",
		"close_wait     105   1.25ms   6.83ms    30.0s    31.0s  ",
		"last_ack         0        -        -        -        -  ",
		"KIND          COUNT    %\n", "four_way        105  75%\n", "reset            30  21%\n", "refused           5   4%\n",
		"CLOSE-WAIT: 12 connections wait for their application to close\n",
		"30.1s  10.0.0.7:8080   10.0.0.1:40000  1.5kB  30.0s\n", // its server waits
		"20.0s  10.0.0.2:40001  10.0.0.8:443       1B   10ns\n", // its client does
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the view lacks %q:\n%s", want, got)
		}
	}
}

// On every terminal the view fits, and the way out is shown.
func TestViewFits(t *testing.T) {
	m := newModel(new(fake))
	m.Update(m.ask()())
	for _, size := range [][2]int{{80, 24}, {200, 60}, {60, 20}, {40, 10}, {20, 3}, {1, 1}} {
		m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		lines := m.screen.lines()
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, line := range lines {
			if w := lipgloss.Width(line); w > size[0] {
				t.Errorf("%v: %d columns: %q", size, w, line)
			}
		}
		if last := strip(lines[len(lines)-1]); !strings.HasPrefix("q quit   p pause", last) && !strings.HasPrefix(last, "q quit") {
			t.Errorf("%v: the last line is %q", size, last)
		}
	}
}

func key(text string) tea.KeyPressMsg {
	r := []rune(text)[0]
	return tea.KeyPressMsg{Code: r, Text: text}
}

func TestKeys(t *testing.T) {
	m := newModel(new(fake))
	m.Update(m.ask()())
	if _, cmd := m.Update(key("q")); cmd == nil || cmd() != tea.Quit() {
		t.Error("q does not quit")
	}
	before := m.ask() // of the window of a minute
	if _, cmd := m.Update(key("+")); cmd == nil || m.screen.window != windows[1] {
		t.Errorf("the window is %v after +", m.screen.window)
	}
	was := m.screen.snapshot
	if m.Update(before()); m.screen.snapshot != was {
		t.Error("the answer to a question of another window is shown")
	}
	m.Update(key("-"))
	if m.Update(key("-")); m.screen.window != windows[0] {
		t.Errorf("the window is %v after - at the shortest", m.screen.window)
	}
	if m.Update(key("p")); !strings.Contains(m.text(), "PAUSED") {
		t.Error("it does not say that it is paused")
	}
	if _, cmd := m.Update(due{m.asked}); cmd != nil {
		t.Error("it asks while it is paused")
	}
	if _, cmd := m.Update(key("p")); cmd == nil {
		t.Error("it does not ask after a pause")
	}
}

// An appliance that is gone is said to be, with what it said last, and asked again.
func TestApplianceGone(t *testing.T) {
	f := new(fake)
	m := newModel(f)
	m.Update(m.ask()())
	f.err = errors.New("nobody answers")
	_, again := m.Update(m.ask()())
	if got := m.text(); !strings.Contains(got, "nobody answers") || !strings.Contains(got, "319 followed") {
		t.Errorf("the view does not say so:\n%s", got)
	}
	if again == nil {
		t.Fatal("it is not asked again")
	}
	f.err = nil
	_, ask := m.Update(again())
	if ask == nil {
		t.Fatal("the time for a question has come and none is asked")
	}
	if m.Update(ask()); strings.Contains(m.text(), "nobody answers") {
		t.Error("it is back, and the view does not know")
	}
}
