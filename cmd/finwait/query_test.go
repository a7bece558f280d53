package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/finwait/finwait/xdp/lab"
)

// Every parameter of the API is a flag, and no flag is a parameter that the API
// does not have.
func TestFlagsAreParameters(t *testing.T) {
	own := []string{"--server", "--token-file", "--ca-file", "--format", "--refresh", "--help"}
	paths := map[string]string{"stream": streamPath, "watch": ""}
	for _, q := range inquiries {
		paths[q.name] = q.path
	}
	for _, cmd := range newAskingCommands() {
		_, out, _ := finwait("__complete", cmd.Name(), "--")
		var flags []string
		for line := range strings.Lines(out) {
			name, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			if name = strings.TrimSuffix(name, "="); strings.HasPrefix(name, "--") && !slices.Contains(own, name) {
				flags = append(flags, name)
			}
		}
		path, known := paths[cmd.Name()]
		if !known {
			t.Fatalf("%s asks what nobody knows", cmd.Name())
		}
		if path == "" { // watch has those that its questions share
			for _, f := range []string{"--server-ip", "--close-kind", "--min-close-wait", "--interface"} {
				if !slices.Contains(flags, f) {
					t.Errorf("%s has no %s", cmd.Name(), f)
				}
			}
			for _, f := range []string{"--since", "--limit", "--sort", "--interval", "--end-reason", "--min-age"} {
				if slices.Contains(flags, f) {
					t.Errorf("%s has %s", cmd.Name(), f)
				}
			}
			continue
		}
		var parameters []string
		for _, p := range parametersOf(path) {
			parameters = append(parameters, "--"+strings.ReplaceAll(p.Name, "_", "-"))
		}
		for i, p := range parameters {
			if p == "--server" || p == "--client" {
				parameters[i] = p + "-ip"
			}
		}
		slices.Sort(flags)
		slices.Sort(parameters)
		if !slices.Equal(flags, parameters) {
			t.Errorf("%s has the flags %v, %s the parameters %v", cmd.Name(), flags, path, parameters)
		}
	}
}

func TestCompletion(t *testing.T) {
	for line, wants := range map[string][]string{
		"flows --close-kind ":          {"reset", "half_open"},
		"flows --close-kind reset,":    {"reset,refused"},
		"connections --server-state ":  {"CLOSE-WAIT"},
		"teardown --group-by ":         {"server_port", "client_network"},
		"top --by ":                    {"close_wait", "resets"},
		"flows --format ":              {"ndjson", "csv"},
		"stream --evidence full,loss":  {"full,lossy"},
		"flows --close-complete ":      {"true"},
		"teardown --group-by server,s": {"server,server_port"},
	} {
		_, out, _ := finwait(append([]string{"__complete"}, strings.Split(line, " ")...)...)
		for _, want := range wants {
			if !slices.Contains(strings.Split(out, "\n"), want) {
				t.Errorf("%s: %q is not offered: %q", line, want, out)
			}
		}
	}
	if _, out, _ := finwait("__complete", "flows", "--close-kind", "reset,"); slices.Contains(strings.Split(out, "\n"), "reset,reset") {
		t.Errorf("what was given is offered again: %q", out)
	}
}

// echo answers with what it was asked, as an appliance would.
func echo(t *testing.T) (server string, asked func() string) {
	t.Helper()
	var last string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = r.URL.Path + "?" + r.URL.RawQuery + " " + r.Header.Get("Accept")
		switch {
		case r.URL.Query().Get("limit") == "99999":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"status":400,"title":"Bad Request","detail":"parameter \"limit\": expected number <= 10000; parameter \"server\": not an address"}`)
		case r.URL.Query().Get("limit") == "401":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"status":401,"title":"Unauthorized","detail":"a token is needed"}`)
		case r.Header.Get("Accept") == "application/x-ndjson":
			w.Header().Set("Trailer", "Finwait-Overwritten")
			_, _ = io.WriteString(w, "{\"flow_id\":\"a\"}\n{\"flow_id\":\"b\",\"close_wait_ns\":5}\n")
			w.Header().Set("Finwait-Overwritten", "3")
		case r.URL.Path == "/v1/teardown" && r.URL.Query().Get("limit") == "1":
			_, _ = io.WriteString(w, `{"group_by":["server"],"groups_total":4,"groups":[{"count":7}]}`)
		case r.URL.Path == "/v1/top":
			_, _ = io.WriteString(w, `{"by":"connections","unit":"connections","group_by":["server"],"connections":0,"groups":[]}`)
		default:
			_, _ = io.WriteString(w, `{"flows":[{"flow_id":"a"}],"next_cursor":null,"group_by":["server"],"groups":[],"connections":[]}`)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() string { return last }
}

func TestQuestions(t *testing.T) {
	server, asked := echo(t)
	t.Setenv(serverVariable, server)
	for _, c := range []struct {
		line           string
		status         int
		asked          string
		stdout, stderr []string
	}{
		{"flows --close-kind reset,refused --close-kind half_open --since -15m --server-ip 10.0.0.0/8", 0,
			"/v1/flows?close_kind=reset%2Crefused%2Chalf_open&server=10.0.0.0%2F8&since=-15m application/json", []string{"CLOSE_WAIT"}, nil},
		{"flows --format json", 0, "/v1/flows? application/json", []string{"  \"flows\": [\n"}, nil},
		{"flows --format ndjson", 0, "/v1/flows? application/x-ndjson", []string{"{\"flow_id\":\"a\"}\n{\"flow_id\":\"b\",\"close_wait_ns\":5}\n"}, []string{"3 records were overwritten"}},
		{"flows --format csv --sort published_at", 0, "/v1/flows?sort=published_at application/x-ndjson", []string{"flow_id,client_ip,", "\nb,,,"}, []string{"3 records"}},
		{"flows --format ndjson --sort -close_wait", 0, "/v1/flows?sort=-close_wait application/json", []string{"{\"flow_id\":\"a\"}\n"}, nil},
		{"flows xyz/..%2f --format json", 0, "/v1/flows/xyz/..%2f? application/json", nil, nil},
		{"top", 0, "/v1/top?by=connections application/json", []string{"SERVER"}, []string{"0 of 0 groups"}},
		{"top --by resets", 0, "/v1/top?by=resets application/json", nil, []string{"0 of 0 groups"}},
		{"teardown --format csv", 0, "/v1/teardown? application/json", []string{"key.server,count,"}, nil},
		{"teardown --limit 1 --format ndjson", 0, "/v1/teardown?limit=1 application/json", []string{"{\"count\":7}\n"}, []string{"1 of 4 groups; --limit"}},
		{"connections --state CLOSE-WAIT", 0, "/v1/connections?state=CLOSE-WAIT application/json", []string{"SERVER STATE"}, []string{"0 shown"}},
		{"flows --limit 99999", exitUsage, "", nil, []string{"--limit: expected number <= 10000", "--server-ip: not an address"}},
		{"flows --limit 401", exitFailure, "", nil, []string{"a token is needed", "--token-file FILE", tokenFileVariable}},
		{"flows --format xml", exitUsage, "", nil, []string{`--format "xml"`, "ndjson or csv"}},
		{"flows a b", exitUsage, "", nil, []string{`argument "b"`}},
		{"flows a --port 1", exitUsage, "", nil, []string{"leave out the filters"}},
		{"teardown a", exitUsage, "", nil, []string{`argument "a"`}},
		{"flows --server 10.0.0.0/8", exitUsage, "", nil, []string{"--server-ip 10.0.0.0/8"}},
		{"flows --server http://127.0.0.1:1", exitFailure, "", nil, []string{"http://127.0.0.1:1", "finwait run --interface", "--server URL", serverVariable}},
		{"flows --token-file /nowhere", exitUsage, "", nil, []string{"no such file"}},
		{"stream --format json", exitUsage, "", nil, []string{`--format "json"`}},
		{"watch", exitUsage, "", nil, []string{"needs a terminal"}},
		{"watch --refresh 1ms", exitUsage, "", nil, []string{"--refresh 1ms"}},
	} {
		status, stdout, stderr := finwait(strings.Fields(c.line)...)
		if status != c.status {
			t.Errorf("%s: exit status %d: %s", c.line, status, stderr)
		}
		if c.asked != "" && asked() != c.asked {
			t.Errorf("%s: it asked %s, want %s", c.line, asked(), c.asked)
		}
		if c.stderr == nil && stderr != "" {
			t.Errorf("%s: it says %q beside its answer", c.line, stderr)
		}
		for text, wants := range map[string][]string{stdout: c.stdout, stderr: c.stderr} {
			for _, want := range wants {
				if !strings.Contains(text, want) {
					t.Errorf("%s: %q is missing in %q", c.line, want, text)
				}
			}
		}
	}
}

// A person who is told that a service is slow to close finds the connections
// and whose fault it is, with a real appliance.
func TestShell(t *testing.T) {
	s := newSite(t, 1)
	r := s.start("--linger", "0")
	held, _ := s.connect()
	if err := held.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.awaitState(held, "FIN-WAIT-2", "CLOSE-WAIT")
	closed, _ := r.closedConnection()
	binary := buildBinary(t)
	shell := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(binary, append(args, "--server", "http://"+r.api)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		s.do(lab.Tap, cmd.Start)
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, stderr.String())
		}
		return stdout.String()
	}
	for _, c := range []struct{ args, has string }{
		{"connections --server-state CLOSE-WAIT --min-close-wait 1us", held.LocalAddr().String() + "  " + held.RemoteAddr().String() + "  FIN-WAIT-2    CLOSE-WAIT"},
		{"flows --close-initiator client --format csv", "," + fmt.Sprint(closed.RemoteAddr().String()[strings.LastIndex(closed.RemoteAddr().String(), ":")+1:]) + ","},
		{"flows --close-kind refused", "CLOSE_WAIT"},
		{"teardown --group-by close_initiator", "client"},
		{"top --by connections --group-by server", s.address(lab.Server).String()},
		{"series --since -1m --interval 1m", "CLOSES"},
		{"status", "lost: nothing"},
	} {
		if out := shell(strings.Fields(c.args)...); !strings.Contains(out, c.has) {
			t.Errorf("%s: %q is missing in\n%s", c.args, c.has, out)
		}
	}
	var flow map[string]any
	if err := json.Unmarshal([]byte(shell("flows", "--format", "ndjson")), &flow); err != nil || flow["close_initiator"] != "client" {
		t.Errorf("%v: %v", flow, err)
	}
	if out := shell("flows", flow["flow_id"].(string)); !strings.Contains(out, "close_wait_ns") {
		t.Errorf("one flow: %s", out)
	}
	watched(t, s, binary, r.api, held.RemoteAddr().String())
}

// watched looks at the live view in a terminal of 80 columns and 24 lines, and
// quits.
func watched(t *testing.T, s *site, binary, api, waits string) {
	t.Helper()
	cmd := exec.Command(binary, "watch", "--server", "http://"+api, "--refresh", "500ms")
	cmd.Env = append(cmd.Environ(), "TERM=xterm-256color")
	var terminal io.ReadWriteCloser
	s.do(lab.Tap, func() (err error) {
		terminal, err = pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
		return err
	})
	defer func() { _ = terminal.Close() }()
	var shown output
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&shown, terminal) // ends with an error when the program has ended
	}()
	defer func() { _ = cmd.Process.Kill() }()
	for _, want := range []string{"\x1b[?1049h", "lost: nothing", "CLOSE-WAIT: 1 connections", waits} {
		eventually(t, "sight of "+want, func() bool { return strings.Contains(shown.String(), want) })
	}
	if _, err := io.WriteString(terminal, "q"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("watch ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("q does not quit")
	}
	<-read
	if text := shown.String(); !strings.Contains(text, "\x1b[?1049l") || strings.LastIndex(text, "\x1b[?25h") < strings.LastIndex(text, "\x1b[?25l") {
		t.Error("the terminal is not as it was")
	}
}
