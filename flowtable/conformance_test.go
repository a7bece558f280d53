package flowtable_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/pcap"
)

// captures is the directory of captures with known answers, beside the
// repository.
func captures(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	found := filepath.Join(dir, "..", "shared", "captures")
	if _, err := os.Stat(found); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the captures with known answers are missing: %v", err)
		}
		t.Skipf("no captures with known answers: %v", err)
	}
	return found
}

// truth is one line of a NAME.truth.ndjson: numbers stay as they are written.
type truth map[string]any

func (r truth) text(field string) string { return fmt.Sprint(r[field]) }

// start is what connections of one tuple are ordered by.
func (r truth) start() int64 {
	for _, field := range []string{"start_ns", "syn_ns"} {
		if number, ok := r[field].(json.Number); ok {
			if n, err := number.Int64(); err == nil {
				return n
			}
		}
	}
	return 0
}

func readTruth(t *testing.T, path string) (list []truth) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		decoder := json.NewDecoder(strings.NewReader(lines.Text()))
		decoder.UseNumber()
		var r truth
		if err := decoder.Decode(&r); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// described is a Record in the words of the truth.
func described(r *flowtable.Record) truth {
	moment := func(m flowtable.Moment) any {
		if at, ok := r.Time(m); ok {
			return at
		}
		return -1
	}
	return truth{
		"client_ip": address(r.Client.Address), "client_port": r.Client.Port,
		"server_ip": address(r.Server.Address), "server_port": r.Server.Port,
		"oriented_by": r.OrientedBy, "close_kind": r.CloseKind, "close_initiator": r.Initiator,
		"syn_ns": moment(flowtable.SYNAt), "syn_ack_ns": moment(flowtable.SYNACKAt),
		"established_ns": moment(flowtable.EstablishedAt),
		"fin1_ns":        moment(flowtable.FIN1At), "ack1_ns": moment(flowtable.ACK1At),
		"fin2_ns": moment(flowtable.FIN2At), "ack2_ns": moment(flowtable.ACK2At),
		"rst_ns": moment(flowtable.RSTAt), "start_ns": r.StartAt, "end_ns": r.EndAt,
		"client_packets": r.Client.Packets, "server_packets": r.Server.Packets,
		"client_bytes": r.Client.Octets, "server_bytes": r.Server.Octets,
		"client_payload_bytes": r.Client.Payload, "server_payload_bytes": r.Server.Payload,
		"fin_retransmits": uint(r.Client.FINRetransmits) + uint(r.Server.FINRetransmits),
	}
}

func address(a [16]byte) netip.Addr { return netip.AddrFrom16(a).Unmap() }

// unmeasured are fields of a truth that say where a connection came from.
var unmeasured = []string{"file", "kind"}

func tuple(r truth) string {
	ends := []string{r.text("client_ip") + " " + r.text("client_port"), r.text("server_ip") + " " + r.text("server_port")}
	slices.Sort(ends)
	return strings.Join(ends, " - ")
}

func byTuple(list []truth, start func(truth) int64) map[string][]truth {
	groups := map[string][]truth{}
	for _, r := range list {
		groups[tuple(r)] = append(groups[tuple(r)], r)
	}
	for _, group := range groups {
		slices.SortStableFunc(group, func(a, b truth) int { return cmp.Compare(start(a), start(b)) })
	}
	return groups
}

// followed is what a table says of a capture, alone or behind a kernel that
// passes on what the program at the NIC would.
func followed(t *testing.T, path string, kernel *flowtable.Kernel) (list []truth) {
	t.Helper()
	source, err := pcap.Open(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	hasher := segment.NewHasher()
	ring := flowtable.NewRing(1<<14, false)
	config := flowtable.Config{MaxFlows: 10000, Timeouts: flowtable.ReplayTimeouts(), Records: ring}
	if kernel != nil {
		config.Accounts = kernel
	}
	table, err := flowtable.New(config, hasher)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = table.Close() }()
	var batch [256]*segment.Segment
	var hashes [256]uint64
	for {
		n, err := source.Receive(batch[:], time.Second)
		for i, s := range batch[:n] {
			key, _ := segment.KeyOf(s)
			hashes[i] = hasher.Hash(&key)
			if kernel == nil {
				continue
			}
			if table.Advance(s.At); kernel.See(s) {
				table.Update(batch[i:i+1], hashes[i:i+1])
			}
		}
		if kernel == nil {
			table.Update(batch[:n], hashes[:n])
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	table.Flush(flowtable.EndCaptureEnd)
	if n := table.Stats().RecordsLost.Load(); n != 0 {
		t.Fatalf("%d records were lost", n)
	}
	for {
		records, _ := ring.Read()
		if len(records) == 0 {
			return list
		}
		for i := range records {
			list = append(list, described(&records[i]))
		}
		ring.Release(len(records))
	}
}

func startOf(r truth) int64 { return r["start_ns"].(int64) }

// TestConformance holds the records of every capture against its truth, which
// another implementation of RECORD.md wrote: connections are matched by tuple
// and order of start.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(captures(t), "*.pcap"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures, error %v", err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".pcap")
		truths := byTuple(readTruth(t, strings.TrimSuffix(path, ".pcap")+".truth.ndjson"), truth.start)
		t.Run(name+"/replay", func(t *testing.T) { conform(t, followed(t, path, nil), truths) })
		t.Run(name+"/live", func(t *testing.T) { conform(t, followed(t, path, flowtable.NewKernel(10000)), truths) })
	}
}

func conform(t *testing.T, list []truth, truths map[string][]truth) {
	t.Helper()
	records := byTuple(list, startOf)
	fields := 0
	for key, wants := range truths {
		got := records[key]
		delete(records, key)
		if len(got) != len(wants) {
			t.Errorf("%s: %d records, not %d", key, len(got), len(wants))
		}
		for i := range min(len(got), len(wants)) {
			fields += compare(t, key, got[i], wants[i])
		}
	}
	for key := range records {
		t.Errorf("records of %s, which is not in the capture's truth", key)
	}
	t.Logf("%d fields of %d tuples agree", fields, len(truths))
}

func compare(t *testing.T, key string, got, want truth) (fields int) {
	t.Helper()
	for field := range want {
		if slices.Contains(unmeasured, field) {
			continue
		}
		if _, known := got[field]; !known {
			t.Errorf("the truth has a field %q that is not compared", field)
			continue
		}
		if got.text(field) != want.text(field) {
			t.Errorf("%s (%v): %s is %s, not %s", key, want["kind"], field, got.text(field), want.text(field))
			continue
		}
		fields++
	}
	return fields
}
