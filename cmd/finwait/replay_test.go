package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/finwait/finwait/flowtable"
)

// captures returns the folder of captures with known answers. It exists where
// the project is developed and in CI; elsewhere the test is skipped.
func captures(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "captures")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("captures with known answers are missing: %v", err)
		}
		t.Skip("no captures with known answers beside the repository")
	}
	return dir
}

// finwait runs one command line in this process.
func finwait(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = execute(context.Background(), args, &out, &errs)
	return status, out.String(), errs.String()
}

// truthTimes are the times of a truth, under NAME_ns there and NAME_at in a
// record; -1 and null stand for one that was not seen.
var truthTimes = []string{"syn", "syn_ack", "fin1", "ack1", "fin2", "ack2", "rst"}

// truthFields are compared as they are.
var truthFields = []string{"client_ip", "client_port", "server_ip", "server_port", "close_kind", "close_initiator",
	"oriented_by", "client_packets", "server_packets", "client_bytes", "server_bytes", "client_payload_bytes", "server_payload_bytes"}

// object is one line of NDJSON.
type object map[string]any

func readObjects(t *testing.T, text string) []object {
	t.Helper()
	var all []object
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		d.UseNumber()
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("a line is no JSON object: %v", err)
		}
		all = append(all, o)
	}
}

func (o object) integer(t *testing.T, name string) int64 {
	t.Helper()
	n, err := o[name].(json.Number).Int64()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// at is a record's time in ns since the epoch, -1 for null.
func (o object) at(t *testing.T, name string) int64 {
	t.Helper()
	text, ok := o[name].(string)
	if !ok {
		return -1
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return at.UnixNano()
}

// tuple is the same for both directions.
func (o object) tuple() string {
	ends := []string{
		o["client_ip"].(string) + " " + o["client_port"].(json.Number).String(),
		o["server_ip"].(string) + " " + o["server_port"].(json.Number).String(),
	}
	slices.Sort(ends)
	return strings.Join(ends, " ")
}

// compareTruth matches records to truths by tuple and order of start.
func compareTruth(t *testing.T, truth, records []object) {
	t.Helper()
	begins := func(o object) int64 {
		if start, ok := o["start_ns"].(json.Number); ok {
			n, _ := start.Int64()
			return n
		}
		return o.integer(t, "syn_ns")
	}
	slices.SortStableFunc(truth, func(a, b object) int { return int(begins(a) - begins(b)) })
	slices.SortStableFunc(records, func(a, b object) int { return int(a.at(t, "start_at") - b.at(t, "start_at")) })
	byTuple := map[string][]object{}
	for _, r := range records {
		byTuple[r.tuple()] = append(byTuple[r.tuple()], r)
	}
	for _, want := range truth {
		key := want.tuple()
		if len(byTuple[key]) == 0 {
			t.Errorf("%s %v: no record", key, want["kind"])
			continue
		}
		compareOne(t, want, byTuple[key][0])
		byTuple[key] = byTuple[key][1:]
	}
	for key, rest := range byTuple {
		if len(rest) > 0 {
			t.Errorf("%s: %d records that the truth does not have", key, len(rest))
		}
	}
}

func compareOne(t *testing.T, want, got object) {
	t.Helper()
	differs := func(name string, want, got any) {
		t.Helper()
		t.Errorf("%s: %s is %v, the truth says %v", got.(object).tuple(), name, got.(object)[name], want)
	}
	for _, name := range truthTimes {
		if want.integer(t, name+"_ns") != got.at(t, name+"_at") {
			differs(name+"_at", want.integer(t, name+"_ns"), got)
		}
	}
	for _, end := range []string{"start", "end"} {
		if _, ok := want[end+"_ns"]; ok && want.integer(t, end+"_ns") != got.at(t, end+"_at") {
			differs(end+"_at", want.integer(t, end+"_ns"), got)
		}
	}
	for _, name := range truthFields {
		if w, ok := want[name]; ok && w != got[name] {
			differs(name, w, got)
		}
	}
	repeats := got.integer(t, "client_fin_retransmits") + got.integer(t, "server_fin_retransmits")
	if want.integer(t, "fin_retransmits") != repeats {
		t.Errorf("%s: %d FINs sent again, the truth says %v", got.tuple(), repeats, want["fin_retransmits"])
	}
}

// Every capture's records agree with its truth in every field that the truth
// has.
func TestReplayAgreesWithTruth(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(captures(t), "*.truth.ndjson"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no truths: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".truth.ndjson"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			status, stdout, stderr := finwait("replay", "--format", "ndjson", strings.TrimSuffix(file, ".truth.ndjson")+".pcap")
			if status != 0 {
				t.Fatalf("exit status %d: %s", status, stderr)
			}
			compareTruth(t, readObjects(t, string(text)), readObjects(t, stdout))
		})
	}
}

func TestReplayFormats(t *testing.T) {
	file := filepath.Join(captures(t), "tcp2_http_drop_c.pcap")
	for format, check := range map[string]func(string) bool{
		"table":   func(s string) bool { return strings.Count(s, "\n") == 2 && strings.Contains(s, "three_way") },
		"ndjson":  func(s string) bool { return strings.Count(s, "\n") == 1 && json.Valid([]byte(s)) },
		"json":    func(s string) bool { return strings.HasPrefix(s, "[") && json.Valid([]byte(s)) },
		"summary": func(s string) bool { return s == "" },
	} {
		status, stdout, stderr := finwait("replay", "--format", format, file)
		if status != 0 || !check(stdout) {
			t.Errorf("%s: exit status %d, standard output %q", format, status, stdout)
		}
		for _, want := range []string{"packets", "52", "connections", "three_way", "fin_wait_1", "2 by clients, 1 by servers"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: the summary lacks %q: %s", format, want, stderr)
			}
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte("this is no capture, it only has many words in it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   []string
	}{
		{"no capture", []string{text}, exitFailure, []string{text, "pcap"}},
		{"nothing there", []string{filepath.Join(dir, "missing.pcap")}, exitFailure, []string{"missing.pcap", "no such file"}},
		{"a folder", []string{dir}, exitFailure, []string{dir}},
		{"no file", nil, exitUsage, []string{"no capture was named"}},
		{"unknown format", []string{"--format", "xml", text}, exitUsage, []string{"xml", "ndjson"}},
		{"negative timeout", []string{"--idle-timeout", "-1s", text}, exitUsage, []string{"idle-timeout"}},
		{"no room", []string{"--max-flows", "0", os.DevNull}, exitFailure, []string{os.DevNull}},
		{"unknown flag", []string{"--fast", text}, exitUsage, []string{"--fast", "--help"}},
		{"standard input twice", []string{"-", "-"}, exitFailure, []string{"twice"}},
	} {
		status, stdout, stderr := finwait(append([]string{"replay"}, c.args...)...)
		if status == 0 || stdout != "" || (c.status != status && c.name != "standard input twice") {
			t.Errorf("%s: exit status %d, standard output %q", c.name, status, stdout)
		}
		for _, want := range c.says {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: the message lacks %q: %s", c.name, want, stderr)
			}
		}
	}
}

// A capture that is cut off gives everything before the cut, a message and
// exit status 1; the captures after it are read all the same.
func TestReplayDamaged(t *testing.T) {
	dir := captures(t)
	whole, err := os.ReadFile(filepath.Join(dir, "every-teardown.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(cut, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := finwait("replay", "--format", "ndjson", cut)
	records := readObjects(t, stdout)
	if status != exitFailure || !strings.Contains(stderr, cut) || len(records) < 100 || len(records) > 400 {
		t.Errorf("exit status %d, %d records of half of 437 connections: %s", status, len(records), stderr)
	}
	if !strings.Contains(stderr, "connections") {
		t.Errorf("no summary of what stands before the damage: %s", stderr)
	}
	status, stdout, _ = finwait("replay", "--format", "ndjson", cut, filepath.Join(dir, "rtt-rtt-2.pcap"))
	if more := readObjects(t, stdout); status != exitFailure || len(more) != len(records)+1 {
		t.Errorf("exit status %d, %d records with another capture behind the damaged one, %d without", status, len(more), len(records))
	}
}

// A capture cut into files at any packet, compressed or from a pipe, gives the
// same records as the whole.
func TestReplayFollowsAcrossFiles(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(captures(t), "every-teardown.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := finwait("replay", "--format", "ndjson", filepath.Join(captures(t), "every-teardown.pcap"))
	const fileHeader, packetHeader = 24, 16
	var packets [][]byte
	for at := fileHeader; at < len(whole); {
		n := packetHeader + int(uint32(whole[at+8])|uint32(whole[at+9])<<8)
		packets = append(packets, whole[at:at+n])
		at += n
	}
	dir := t.TempDir()
	var parts []string
	for i := range 3 {
		part := slices.Clone(whole[:fileHeader])
		for _, p := range packets[i*len(packets)/3 : (i+1)*len(packets)/3] {
			part = append(part, p...)
		}
		name := filepath.Join(dir, string(rune('a'+i))+".pcap")
		if i == 1 {
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			if _, err := z.Write(part); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			part = packed.Bytes()
		}
		if err := os.WriteFile(name, part, 0o600); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, name)
	}
	status, got, stderr := finwait(append([]string{"replay", "--format", "ndjson"}, parts...)...)
	if status != 0 {
		t.Fatal(stderr)
	}
	strip := func(text string) []object {
		all := readObjects(t, text)
		for _, o := range all {
			delete(o, "flow_id")
			delete(o, "interface")
		}
		slices.SortFunc(all, func(a, b object) int {
			return strings.Compare(a.tuple()+a["start_at"].(string), b.tuple()+b["start_at"].(string))
		})
		return all
	}
	a, errA := json.Marshal(strip(want))
	b, errB := json.Marshal(strip(got))
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Error("the records of a capture differ once it is cut into three files")
	}
}

// failingWriter takes no more after so many octets, as a closed pipe.
type failingWriter struct{ left int }

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func TestReplaySaysThatOutputFailed(t *testing.T) {
	var stderr bytes.Buffer
	status := execute(context.Background(), []string{"replay", "--format", "ndjson", filepath.Join(captures(t), "every-teardown.pcap")},
		&failingWriter{left: 1000}, &stderr)
	if status != exitFailure || !strings.Contains(stderr.String(), "writing records") {
		t.Errorf("exit status %d: %s", status, stderr.String())
	}
}

func TestReplayInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var stdout, stderr bytes.Buffer
	status := execute(ctx, []string{"replay", "--format", "ndjson", filepath.Join(captures(t), "every-teardown.pcap")}, &stdout, &stderr)
	if status != exitFailure || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit status %d: %s", status, stderr.String())
	}
}

func TestIdleTimeoutZeroSwitchesAllOff(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "30s 5m0s 1m0s 0s 1m0s"},
		{[]string{"--idle-timeout", "0"}, "0s 0s 0s 0s 1m0s"},
		{[]string{"--idle-timeout", "0", "--opening-timeout", "7s"}, "7s 0s 0s 0s 1m0s"},
		{[]string{"--idle-timeout", "2m", "--linger", "3s"}, "30s 2m0s 1m0s 0s 3s"},
		{[]string{"--linger", "0"}, "30s 5m0s 1m0s 0s 1ms"},
	} {
		set := pflag.NewFlagSet("test", pflag.ContinueOnError)
		flags := addTimeoutFlags(set, flowtable.ReplayTimeouts())
		if err := set.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		got, err := flags.validated()
		if err != nil {
			t.Fatal(err)
		}
		s := strings.Join([]string{got.Opening.String(), got.Established.String(), got.Closing.String(), got.Active.String(), got.Linger.String()}, " ")
		if s != c.want {
			t.Errorf("%v: %s, want %s", c.args, s, c.want)
		}
	}
}
