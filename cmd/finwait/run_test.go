package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/xdp/lab"
)

// The appliance says what it found, answers for a connection in every state
// that a client sees it in, and leaves its record and nothing else.
func TestRun(t *testing.T) {
	s := newSite(t, 2)
	before := s.traces()
	file := filepath.Join(t.TempDir(), "records.ndjson")
	r := s.start("--records", file)
	facts := r.stderr.String()
	for _, fact := range []string{`(?m)^finwait .* on \d+ CPUs$`, `(?m)^interface "tap0": driver veth, native XDP, MTU \d+, 2 receive queues`,
		`(?m)^flow table: 10000 entries, .* MiB`, `(?m)^sockets: 2 of \d+ segments each, .* MiB`, `(?m)^flow tables: 2 for .* connections, \d+ MiB`,
		`(?m)^recent records: 10000, \d+ MiB`, `(?m)^records: appended to ".*/records.ndjson"$`, apiAddress.String() + ` \(process \d+\)$`} {
		if n := len(regexp.MustCompile(fact).FindAllString(facts, -1)); n != 1 {
			t.Errorf("the start says %d times %s:\n%s", n, fact, facts)
		}
	}
	if during := s.traces(); during.program == 0 || during.promisc != 1 {
		t.Errorf("while it runs the interface has program %d and promiscuity %d", during.program, during.promisc)
	}
	checkStatus(t, r)

	held, heldServer := s.connect()
	r.awaitState(held, "ESTABLISHED", "ESTABLISHED")
	if err := held.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.awaitState(held, "FIN-WAIT-2", "CLOSE-WAIT")
	closed, flow := r.closedConnection()
	if kind := flow["close_kind"]; kind != "four_way" && kind != "three_way" {
		t.Errorf("two ends that closed are %q", kind)
	}
	teardown := r.query("/v1/teardown?group_by=close_kind")
	if n := teardown.integer(t, "count"); n != 1 || len(teardown["groups"].([]any)) != 1 {
		t.Errorf("the teardowns of one connection: %v", teardown)
	}
	if lost := losses(t, r.query("/v1/status")); len(lost) > 0 {
		t.Errorf("losses: %v", lost)
	}
	if status := r.stop(); status != 0 {
		t.Errorf("exit status %d: %s", status, r.stderr.String())
	}
	if end := r.stderr.String(); !strings.Contains(end, "\nstopped: 2 records, 1 of them of connections that were still open\n") {
		t.Errorf("the end does not say what was written:\n%s", end)
	}
	checkRecords(t, file, closed, held)
	_ = heldServer.Close()
	if after := s.traces(); !after.equal(traces{before.program, before.promisc, before.flags, before.rings, withSockets(before.files, 1)}) {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// withSockets adds those that the test itself still holds.
func withSockets(files map[string]int, n int) map[string]int {
	all := map[string]int{}
	for kind, count := range files {
		all[kind] = count
	}
	all["socket"] += n
	return all
}

func checkStatus(t *testing.T, r *running) {
	t.Helper()
	if code, body := r.ask(r.api, "/healthz"); code != http.StatusOK || !strings.Contains(string(body), `"ok"`) {
		t.Errorf("/healthz: %d: %s", code, body)
	}
	status := r.query("/v1/status")
	if n := status.integer(t, "workers"); n != 2 {
		t.Errorf("%d workers", n)
	}
	port := object(status["interfaces"].([]any)[0].(map[string]any))
	if port["name"] != lab.TapInterface || port["driver"] != "veth" || port["mode"] != "native" || port.integer(t, "queues") != 2 {
		t.Errorf("the interface is %v", port)
	}
}

// awaitState asks until the API shows a connection's two ends in these states.
func (r *running) awaitState(c *net.TCPConn, client, server string) {
	r.t.Helper()
	eventually(r.t, client+" and "+server, func() bool {
		all := r.list(of("/v1/connections", c), "connections")
		return len(all) == 1 && all[0]["client_state"] == client && all[0]["server_state"] == server
	})
}

// checkRecords looks for the records of a closed and of a half-closed
// connection.
func checkRecords(t *testing.T, file string, closed, held *net.TCPConn) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	records := readObjects(t, string(text))
	if len(records) != 2 || strings.Count(string(text), "\n") != 2 {
		t.Fatalf("the file has not one line for each of two connections: %s", text)
	}
	for i, want := range []struct {
		c      *net.TCPConn
		reason string
	}{{closed, "closed"}, {held, "shutdown"}} {
		record := records[i]
		if port := record.integer(t, "client_port"); int(port) != want.c.LocalAddr().(*net.TCPAddr).Port || record["end_reason"] != want.reason {
			t.Errorf("record %d: %v, want end_reason %q", i, record, want.reason)
		}
	}
	if last := records[1]; last["close_kind"] != "half_closed" || last["close_initiator"] != "client" || last["server_state"] != "CLOSE-WAIT" {
		t.Errorf("the connection in CLOSE-WAIT is on record as %v", last)
	}
}

// Standard output has records alone, and a second run appends to a file.
func TestRunRecords(t *testing.T) {
	s := newSite(t, 1)
	file := filepath.Join(t.TempDir(), "records.ndjson")
	for _, to := range []string{"-", file, file} {
		r := s.start("--records", to)
		c, _ := s.connect()
		r.awaitState(c, "ESTABLISHED", "ESTABLISHED")
		if status := r.stop(); status != 0 {
			t.Fatalf("exit status %d: %s", status, r.stderr.String())
		}
		if records := readObjects(t, r.stdout.String()); to == "-" && (len(records) != 1 || records[0]["close_kind"] != "open") || to != "-" && len(records) != 0 {
			t.Errorf("--records %s: standard output %q", to, r.stdout.String())
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if records := readObjects(t, string(text)); len(records) != 2 || records[0]["flow_id"] == records[1]["flow_id"] {
		t.Errorf("two runs left %s", text)
	}
}

// A disk that is full is told at once, in the ledger, and by the exit status;
// the API has the records all the same.
func TestRunRecordsNotTaken(t *testing.T) {
	s := newSite(t, 1)
	r := s.start("--records", "/dev/full", "--linger", "0")
	client, server := s.connect()
	for _, c := range []*net.TCPConn{client, server} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "loss of a record in the ledger", func() bool { return losses(t, r.query("/v1/status"))["sink/records"] == 1 })
	if n := len(r.list(of("/v1/flows", client), "flows")); n != 1 {
		t.Errorf("%d records in the API", n)
	}
	status, says := r.stop(), "records does not take records: write records: "
	if end := r.stderr.String(); status != exitFailure || strings.Count(end, says) != 1 || !strings.Contains(end, "no space left") {
		t.Errorf("exit status %d: %s", status, end)
	}
}

// An appliance whose interface goes away ends, and says why.
func TestRunInterfaceGone(t *testing.T) {
	s := newSite(t, 2)
	r := s.start()
	s.do(lab.Tap, func() error { return netlink.LinkDel(s.tap()) })
	r.awaitEnd("interface gone")
	if end := r.stderr.String(); r.status != exitFailure || !strings.Contains(end, `interface "tap0"`) || !strings.Contains(end, "the interface is gone") {
		t.Errorf("exit status %d: %s", r.status, end)
	}
}

// Generic XDP that was asked for is a fact.
func TestRunGeneric(t *testing.T) {
	s := newSite(t, 1)
	r := s.start("--generic")
	if status := r.stop(); status != 0 || !strings.Contains(r.stderr.String(), "generic XDP") {
		t.Errorf("exit status %d: %s", status, r.stderr.String())
	}
}

// Who listens for others needs a token, and is warned of what goes unencrypted;
// the page and the health need none.
func TestRunForOthers(t *testing.T) {
	s := newSite(t, 1)
	r := s.launch("--listen", "0.0.0.0:0")
	r.awaitEnd("no token")
	for _, want := range []string{`--listen "0.0.0.0:0"`, "--token-file", "openssl rand"} {
		if r.status != exitUsage || !strings.Contains(r.stderr.String(), want) {
			t.Errorf("exit status %d, the message lacks %q: %s", r.status, want, r.stderr.String())
		}
	}
	const token = "a-token-of-this-test-alone"
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(token), 0o644); err != nil {
		t.Fatal(err)
	}
	r = s.start("--listen", "0.0.0.0:0", "--token-file", file)
	for _, want := range []string{"\nwarning: tokens and answers are not encrypted", "\nwarning: other users of this machine may read"} {
		if !strings.Contains(r.stderr.String(), want) {
			t.Errorf("the start lacks %q: %s", want, r.stderr.String())
		}
	}
	_, port, err := net.SplitHostPort(r.api)
	if err != nil {
		t.Fatal(err)
	}
	at := net.JoinHostPort("127.0.0.1", port)
	for _, c := range []struct {
		path, token string
		status      int
	}{{"/healthz", "", 200}, {"/v1/status", "", 401}, {"/metrics", "", 401}, {"/openapi.json", "", 401}, {"/v1/status", token, 200}, {"/metrics", token, 200}, {"/metrics", token + "x", 401}} {
		if status, body := s.ask(at, c.path, "Authorization: Bearer "+c.token); status != c.status {
			t.Errorf("%s with token %q: %d: %s", c.path, c.token, status, body)
		}
	}
	_, body := s.ask(at, "/v1/status", "Authorization: Bearer "+token)
	refused := map[string]int64{}
	for _, e := range readObjects(t, string(body))[0]["ledger"].([]any) {
		if entry := object(e.(map[string]any)); entry["stage"] == stageHTTP {
			refused[entry["reason"].(string)] = entry.integer(t, "count")
		}
	}
	if refused["token_wrong"] != 4 {
		t.Errorf("refusals in the ledger: %v", refused)
	}
	if status := r.stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// Metrics say what the API says.
func TestRunMetrics(t *testing.T) {
	s := newSite(t, 2)
	r := s.start("--linger", "0", "--records", filepath.Join(t.TempDir(), "records.ndjson"))
	held, _ := s.connect()
	if err := held.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.awaitState(held, "FIN-WAIT-2", "CLOSE-WAIT")
	_, flow := r.closedConnection()
	labels := `{close_initiator="client",close_kind="` + flow["close_kind"].(string) + `"`
	status, body := s.ask(r.api, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d: %s", status, body)
	}
	for _, want := range []string{
		"finwait_connections_closed_total" + labels + `,end_reason="closed"} 1`,
		"finwait_teardown_seconds_count" + labels + "} 1",
		`finwait_connections{end="client",state="FIN-WAIT-2"} 1`,
		`finwait_connections{end="server",state="CLOSE-WAIT"} 1`,
		"finwait_connections_opened_total 2",
		`finwait_retransmits_total{segment="syn",sender="client"} 0`,
		`finwait_ledger_total{interface="tap0",loss="true",queue="1",reason="rx_ring_full",stage="socket"} 0`,
		`finwait_sink_records_lost_total{sink="recent"} 0`,
		"finwait_recent_records 1", "go_goroutines ", "process_resident_memory_bytes ",
		`finwait_http_requests_total{code="200",route="/v1/flows"} `,
	} {
		if !strings.Contains(string(body), "\n"+want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if polls := regexp.MustCompile(`\nfinwait_worker_polls_total\{interface="tap0",queue="0"\} [1-9]`); !polls.Match(body) {
		t.Error("worker 0 never looked at its socket")
	}
	checkDocuments(t, string(body))
}

// A client that never finishes its request is cut off, which is no failure.
func TestRunWithSlowClient(t *testing.T) {
	s := newSite(t, 1)
	r := s.start()
	var slow net.Conn
	s.do(lab.Tap, func() (err error) {
		slow, err = net.Dial("tcp", r.api)
		return err
	})
	defer func() { _ = slow.Close() }()
	if _, err := slow.Write([]byte("GET /healthz HTTP/1.1\r\nHost: ")); err != nil {
		t.Fatal(err)
	}
	if code, _ := r.ask(r.api, "/healthz"); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	if status := r.stop(); status != 0 {
		t.Errorf("exit status %d: %s", status, r.stderr.String())
	}
}

// Every refusal has a message of its own that says what to do, nothing on
// standard output, and leaves the machine as it was.
func TestRunRefused(t *testing.T) {
	s := newSite(t, 1)
	link := s.tap()
	var taken net.Listener
	s.do(lab.Tap, func() (err error) {
		taken, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	defer func() { _ = taken.Close() }()
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 7), Mask: net.CIDRMask(24, 32)}}
	nothing := func() error { return nil }
	var foreign func() error
	for _, c := range []struct {
		name       string
		args       []string
		begin, end func() error // in the tap's namespace
		says       []string
	}{
		{"unknown interface", []string{"--interface", "tap9"}, nothing, nothing, []string{`interface "tap9" does not exist`, "ip link"}},
		{"interface twice", []string{"--interface", lab.TapInterface}, nothing, nothing, []string{`interface "tap0" is named twice`}},
		{"interface down", nil, func() error { return netlink.LinkSetDown(link) }, func() error { return netlink.LinkSetUp(link) },
			[]string{`interface "tap0" is down`, "ip link set dev tap0 up"}},
		{"own address", nil, func() error { return netlink.AddrAdd(link, address) }, func() error { return netlink.AddrDel(link, address) },
			[]string{`interface "tap0"`, "192.0.2.7", "--mode gateway", "--force"}},
		{"foreign program", nil, func() (err error) { foreign, err = attachForeign(link.Attrs().Index); return err }, func() error { return foreign() },
			[]string{`interface "tap0" has XDP program`, `"somebody_else"`, "ip link set dev tap0 xdp off"}},
		{"port taken", []string{"--listen", taken.Addr().String()}, nothing, nothing,
			[]string{"--listen", taken.Addr().String(), "address already in use", "choose another address or port"}},
		{"memory", []string{"--max-flows", "4294967295"}, nothing, nothing, []string{"ask for fewer flows with --max-flows"}},
		{"records", []string{"--records", filepath.Join(t.TempDir(), "missing", "records")}, nothing, nothing,
			[]string{"--records", "no such file or directory", "choose a file"}},
		{"records into a folder", []string{"--records", t.TempDir()}, nothing, nothing, []string{"--records", "is a directory", "choose a file"}},
	} {
		s.do(lab.Tap, c.begin)
		before := s.traces()
		r := s.launch(c.args...)
		r.awaitEnd(c.name)
		if r.status != exitFailure || r.stdout.String() != "" {
			t.Errorf("%s: exit status %d, standard output %q", c.name, r.status, r.stdout.String())
		}
		for _, want := range c.says {
			if !strings.Contains(r.stderr.String(), want) {
				t.Errorf("%s: the message lacks %q: %s", c.name, want, r.stderr.String())
			}
		}
		if after := s.traces(); !after.equal(before) {
			t.Errorf("%s: before %+v, after %+v", c.name, before, after)
		}
		s.do(lab.Tap, c.end)
	}
	r := s.start()
	if status := r.stop(); status != 0 {
		t.Errorf("after all refusals: exit status %d: %s", status, r.stderr.String())
	}
}

// attachForeign attaches a program that passes everything.
func attachForeign(index int) (detach func() error, err error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "somebody_else", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	})
	if err != nil {
		return nil, err
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: index})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return func() error { return errors.Join(l.Close(), p.Close()) }, nil
}
