package main

import (
	"strings"
	"testing"
)

// A command line that cannot be carried out ends with status 2, says what to
// do on standard error, and writes nothing on standard output.
func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		line string
		says []string
	}{
		{"survey", []string{`unknown command "survey"`, "finwait --help"}},
		{"--fast", []string{"--fast", "finwait --help"}},
		{"run", []string{"--interface", "finwait lab"}},
		{"run eth1", []string{`"eth1"`, "--interface"}},
		{"run --interface ,", []string{"--interface", "without a name", "ip link"}},
		{"run --fast", []string{"--fast", "finwait run --help"}},
		{"run --interface eth1 --listen 8480", []string{`--listen "8480"`, "ADDRESS:PORT", defaultListen}},
		{"run --interface eth1 --listen 127.0.0.1:99999", []string{`--listen "127.0.0.1:99999"`, "ADDRESS:PORT"}},
		{"run --interface eth1 --mode router", []string{`--mode "router"`, "choose tap"}},
		{"run --interface eth1 --mode gateway --force", []string{"--mode gateway", "for a tap"}},
		{"run --interface eth1 --mode gateway --segment-limit 0", []string{"--segment-limit 0"}},
		{"run --interface eth1 --max-flows 0", []string{"--max-flows 0", "at least one"}},
		{"run --interface eth1 --max-flows -1", []string{"--max-flows", "finwait run --help"}},
		{"run --interface eth1 --recent 0", []string{"--recent 0", "at least one"}},
		{"run --interface eth1 --recent 1000000000000", []string{"--recent 1000000000000", "keep fewer"}},
		{"run --interface eth1 --idle-timeout -1s", []string{"--idle-timeout -1s", "0 or more"}},
		{"run --interface eth1 --opening-timeout -1s", []string{"--opening-timeout -1s", "0 or more"}},
		{"run --interface eth1 --closing-timeout -1s", []string{"--closing-timeout -1s", "0 or more"}},
		{"run --interface eth1 --active-timeout -1m", []string{"--active-timeout -1m0s", "0 or more"}},
		{"run --interface eth1 --linger -1ms", []string{"--linger -1ms", "0 or more"}},
		{"run --interface eth1 --linger soon", []string{"--linger", `"soon"`, "finwait run --help"}},
		{"lab here", []string{`"here"`, "finwait lab --help"}},
		{"lab --for -1s", []string{"--for -1s", "0 or more"}},
		{"lab --format xml", []string{`--format "xml"`, "table or json"}},
		{"lab --queues 0", []string{"--queues 0", "1 to 16"}},
	} {
		status, stdout, stderr := finwait(strings.Fields(c.line)...)
		if status != exitUsage || stdout != "" {
			t.Errorf("%s: exit status %d, standard output %q", c.line, status, stdout)
		}
		for _, want := range c.says {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: the message lacks %q: %s", c.line, want, stderr)
			}
		}
		for line := range strings.Lines(stderr) {
			if !strings.HasPrefix(line, "finwait: ") {
				t.Errorf("%s: a line does not say who speaks: %q", c.line, line)
			}
		}
	}
}

// What was asked for is no error and goes to standard output.
func TestHelpAndVersion(t *testing.T) {
	for _, c := range []struct {
		line string
		says []string
	}{
		{"", []string{"run", "replay", "lab", "--version"}},
		{"--help", []string{"run", "replay", "lab", "--version"}},
		{"--version", []string{"finwait version " + version()}},
		{"run --help", []string{"--interface", "--listen", "--records", "--max-flows", defaultListen}},
		{"replay --help", []string{"--format", "FILE..."}},
		{"lab --help", []string{"--for", "--queues"}},
	} {
		status, stdout, stderr := finwait(strings.Fields(c.line)...)
		if status != 0 || stderr != "" {
			t.Errorf("%q: exit status %d, standard error %q", c.line, status, stderr)
		}
		for _, want := range c.says {
			if !strings.Contains(stdout, want) {
				t.Errorf("%q: the answer lacks %q: %s", c.line, want, stdout)
			}
		}
	}
}
