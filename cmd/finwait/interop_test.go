//go:build interop

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/finwait/finwait/xdp/lab"
)

// installed returns the path of another one's program, which make interop
// installs.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: 'make interop' installs it", err)
	}
	return path
}

// tally is what one end sent on one tuple, in that direction.
type tally struct {
	packets, octets int64
	firstFIN        int64 // ns since the epoch, 0 for none
}

// tallies are by "source port destination port".
type tallies map[string]tally

func (t tallies) add(key string, packets, octets, fin int64) {
	sum := t[key]
	sum.packets += packets
	sum.octets += octets
	if fin != 0 && (sum.firstFIN == 0 || fin < sum.firstFIN) {
		sum.firstFIN = fin
	}
	t[key] = sum
}

func direction(src, srcPort, dst, dstPort string) string {
	return usual(src) + " " + srcPort + " " + usual(dst) + " " + dstPort
}

// usual is an address as RFC 5952 writes it.
func usual(address string) string {
	if a, err := netip.ParseAddr(address); err == nil {
		return a.String()
	}
	return address
}

// ours sums finwait's records by direction.
func ours(t *testing.T, records []object) tallies {
	t.Helper()
	sums := tallies{}
	for _, r := range records {
		client := []string{r["client_ip"].(string), r["client_port"].(json.Number).String()}
		server := []string{r["server_ip"].(string), r["server_port"].(json.Number).String()}
		fins := map[string]int64{"client": 0, "server": 0}
		if initiator, _ := r["close_initiator"].(string); r.at(t, "fin1_at") > 0 {
			other := map[string]string{"client": "server", "server": "client"}[initiator]
			fins[initiator], fins[other] = r.at(t, "fin1_at"), max(r.at(t, "fin2_at"), 0)
		}
		sums.add(direction(client[0], client[1], server[0], server[1]), r.integer(t, "client_packets"), r.integer(t, "client_bytes"), fins["client"])
		sums.add(direction(server[0], server[1], client[0], client[1]), r.integer(t, "server_packets"), r.integer(t, "server_bytes"), fins["server"])
	}
	maps.DeleteFunc(sums, func(_ string, v tally) bool { return v.packets == 0 })
	return sums
}

// tsharks sums the segments that tshark sees, those of the innermost IP.
func tsharks(t *testing.T, file string) tallies {
	t.Helper()
	fields := []string{"frame.time_epoch", "ip.src", "ip.dst", "ip.len", "ipv6.src", "ipv6.dst", "ipv6.plen", "tcp.srcport", "tcp.dstport", "tcp.flags.fin"}
	args := []string{"-r", file, "-n", "-Y", "tcp", "-o", "ip.defragment:FALSE", "-T", "fields", "-E", "occurrence=l", "-E", "separator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(installed(t, "tshark"), args...).Output()
	if err != nil {
		t.Fatalf("tshark -r %s: %v", file, err)
	}
	sums := tallies{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		src, dst := f[1], f[2]
		octets, _ := strconv.ParseInt(f[3], 10, 64)
		if f[4] != "" {
			src, dst = f[4], f[5]
			octets, _ = strconv.ParseInt(f[6], 10, 64)
			octets += 40
		}
		fin := int64(0)
		if f[9] == "1" || f[9] == "True" {
			fin = epoch(t, f[0])
		}
		sums.add(direction(src, f[7], dst, f[8]), 1, octets, fin)
	}
	return sums
}

// epoch reads seconds with nine decimals.
func epoch(t *testing.T, s string) int64 {
	t.Helper()
	seconds, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(seconds+(fraction + "000000000")[:9], 10, 64)
	if err != nil {
		t.Fatalf("time %q: %v", s, err)
	}
	return n
}

func compareTallies(t *testing.T, name string, theirs, ours tallies) {
	t.Helper()
	if len(theirs) == 0 {
		t.Errorf("%s saw nothing", name)
	}
	for key, want := range theirs {
		if got := ours[key]; got != want {
			t.Errorf("%s: %s saw %+v, finwait %+v", key, name, want, got)
		}
	}
	for key := range ours {
		if _, ok := theirs[key]; !ok {
			t.Errorf("%s: finwait saw it, %s did not", key, name)
		}
	}
}

func captureFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(captures(t), "*.pcap"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	return files
}

func replayed(t *testing.T, files ...string) []object {
	t.Helper()
	status, stdout, stderr := finwait(append([]string{"replay", "--format", "ndjson"}, files...)...)
	if status != 0 {
		t.Fatalf("replay %v: exit status %d: %s", files, status, stderr)
	}
	return readObjects(t, stdout)
}

// tshark and finwait count the same segments, octets and first FINs in both
// directions of every tuple of every capture.
func TestInteropTshark(t *testing.T) {
	for _, file := range captureFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			compareTallies(t, "tshark", tsharks(t, file), ours(t, replayed(t, file)))
		})
	}
}

// What Wireshark's tools write is read the same: pcapng, nanoseconds, several
// captures merged into one.
func TestInteropEditcap(t *testing.T) {
	dir := t.TempDir()
	same := func(name string, want, got []object) {
		t.Helper()
		for _, all := range [][]object{want, got} {
			for _, o := range all {
				delete(o, "flow_id")
				delete(o, "interface")
			}
			slices.SortFunc(all, func(a, b object) int {
				return strings.Compare(a.tuple()+a["start_at"].(string), b.tuple()+b["start_at"].(string))
			})
		}
		a, _ := json.Marshal(want)
		b, _ := json.Marshal(got)
		if len(want) == 0 || !bytes.Equal(a, b) {
			t.Errorf("%s: %d records, %d of the original, and they differ", name, len(got), len(want))
		}
	}
	for _, file := range captureFiles(t) {
		want := replayed(t, file)
		for _, format := range []string{"pcapng", "nsecpcap"} {
			to := filepath.Join(dir, filepath.Base(file)+"."+format)
			if out, err := exec.Command(installed(t, "editcap"), "-F", format, file, to).CombinedOutput(); err != nil {
				t.Fatalf("editcap -F %s %s: %v: %s", format, file, err, out)
			}
			same(filepath.Base(to), want, replayed(t, to))
		}
	}
	base := captures(t)
	parts := []string{filepath.Join(base, "amqp1.pcap"), filepath.Join(base, "pulsar-consumer.pcap"), filepath.Join(base, "openwire_injected.pcap")}
	to := filepath.Join(dir, "merged.pcapng")
	if out, err := exec.Command(installed(t, "mergecap"), append([]string{"-F", "pcapng", "-w", to}, parts...)...).CombinedOutput(); err != nil {
		t.Fatalf("mergecap: %v: %s", err, out)
	}
	same("merged", replayed(t, parts...), replayed(t, to))
}

// softflowd's NetFlow, collected by nfcapd, has the same packets in both
// directions of every tuple. It looks behind one VLAN tag only, and counts Ethernet
// padding among the octets: up to 6 for each segment of 40.
func TestInteropSoftflowd(t *testing.T) {
	file := filepath.Join(captures(t), "every-teardown.pcap")
	dir := t.TempDir()
	port := freePort(t)
	collector := exec.Command(installed(t, "nfcapd"), "-l", dir, "-b", "127.0.0.1", "-p", port, "-t", "3600", "-B", "8000000")
	if err := collector.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- collector.Wait() }()
	defer func() { _ = collector.Process.Kill() }()
	waitForUDP(t, port)
	limit, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	exporter := exec.CommandContext(limit, installed(t, "softflowd"), "-r", file, "-n", "127.0.0.1:"+port, "-v", "9", "-m", "100000", "-d",
		"-p", filepath.Join(t.TempDir(), "pid"), "-c", "none")
	if out, err := exporter.CombinedOutput(); err != nil {
		t.Fatalf("softflowd: %v: %s", err, out)
	}
	time.Sleep(time.Second) // for the last datagrams to reach the collector
	if err := collector.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ended
	out, err := exec.Command(installed(t, "nfdump"), "-R", dir, "-q", "-N", "-6", "-o", "fmt:%sa|%sp|%da|%dp|%pr|%pkt|%byt").Output()
	if err != nil {
		t.Fatalf("nfdump: %v", err)
	}
	theirs := tallies{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(line, "|")
		if len(f) != 7 {
			continue
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		packets, _ := strconv.ParseInt(f[5], 10, 64)
		octets, _ := strconv.ParseInt(f[6], 10, 64)
		theirs.add(direction(f[0], f[1], f[2], f[3]), packets, octets, 0)
	}
	got := ours(t, slices.DeleteFunc(replayed(t, file), func(o object) bool { return o["encapsulation"] == "qinq" }))
	for key, v := range got {
		v.firstFIN = 0
		if padding := theirs[key].octets - v.octets; padding > 0 && padding <= 6*v.packets {
			v.octets += padding
		}
		got[key] = v
	}
	compareTallies(t, "softflowd", theirs, got)
}

func freePort(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return strconv.Itoa(c.LocalAddr().(*net.UDPAddr).Port)
}

// waitForUDP waits until something is bound to a port.
func waitForUDP(t *testing.T, port string) {
	t.Helper()
	for range 100 {
		c, err := net.ListenPacket("udp", "127.0.0.1:"+port)
		if err != nil {
			return
		}
		_ = c.Close()
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the collector does not listen")
}

// What the appliance recorded live, with the kernel counting, equals what a
// replay makes of tcpdump's capture of the same frames, in every field that
// does not hang on the moment a clock was read.
func TestInteropTcpdumpAtTheTap(t *testing.T) {
	needRoot(t)
	for range 3 {
		if live, replay, dropped := liveAndReplay(t); dropped == 0 {
			compareLive(t, live, replay)
			return
		}
	}
	t.Fatal("the hub lost frames on their way to the tap, three times in a row")
}

// liveAndReplay returns the records of one run in the laboratory: live, and from
// tcpdump's capture of the port to the tap; and how many frames of that the tap
// never got.
func liveAndReplay(t *testing.T) (live, replay []object, dropped uint64) {
	t.Helper()
	network, err := lab.Build(lab.Config{TapQueues: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = network.Close() }()
	file := filepath.Join(t.TempDir(), "tap.pcap")
	dump := exec.Command(installed(t, "tcpdump"), "-i", "to-"+lab.TapInterface, "-w", file, "-s", "128", "-B", "65536", "-U")
	var said bytes.Buffer
	dump.Stderr = &said
	if err := network.Do(lab.Hub, dump.Start); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dump.Process.Kill() }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if info, err := os.Stat(file); err == nil && info.Size() >= 24 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("tcpdump does not capture: %s", said.String())
		}
	}
	a, end := tapped(t, network)
	defer end()
	if _, err := network.Traffic(t.Context(), 5*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	if err := settle(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := dump.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := dump.Wait(); err != nil {
		t.Fatalf("tcpdump: %v: %s", err, said.String())
	}
	if !strings.Contains(said.String(), "\n0 packets dropped by kernel") {
		t.Fatalf("tcpdump lost packets, so nothing can be compared: %s", said.String())
	}
	for _, kind := range []string{"refused", "reset", "simultaneous", "three_way", "four_way", "half_closed", "unanswered", "half_open", "open"} {
		body, err := get(t.Context(), a.config.listener.Addr(), fmt.Sprintf("/v1/flows?limit=10000&close_kind=%s", kind))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Flows []json.RawMessage }
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatal(err)
		}
		for _, f := range answer.Flows {
			live = append(live, readObjects(t, string(f))...)
		}
	}
	if dropped, err = network.Dropped(); err != nil {
		t.Fatal(err)
	}
	return live, replayed(t, file), dropped
}

// compareLive holds live records against a replay's, by tuple and order.
func compareLive(t *testing.T, live, replay []object) {
	t.Helper()
	byTuple := map[string][]object{}
	for _, all := range [][]object{live, replay} {
		slices.SortStableFunc(all, func(a, b object) int { return int(a.at(t, "start_at") - b.at(t, "start_at")) })
	}
	for _, r := range replay {
		byTuple[r.tuple()] = append(byTuple[r.tuple()], r)
	}
	if len(live) != len(replay) || len(live) < 100 {
		t.Errorf("%d records live, %d from tcpdump's capture", len(live), len(replay))
	}
	// Not compared: what names the record, times and durations (each capture
	// has its own clock readings), and why it was written (they linger
	// differently).
	for _, l := range live {
		rest := byTuple[l.tuple()]
		if len(rest) == 0 {
			t.Errorf("%s: only live", l.tuple())
			continue
		}
		byTuple[l.tuple()] = rest[1:]
		for field, want := range rest[0] {
			switch {
			case field == "flow_id", field == "interface", field == "end_reason":
			case field == "oriented_by" && l[field] == "syn_ack" && want == "syn":
				// On the tap's two queues the SYN-ACK overtook its SYN.
			case strings.HasSuffix(field, "_at"), strings.HasSuffix(field, "_ns"):
				if (want == nil) != (l[field] == nil) && strings.HasSuffix(field, "_at") {
					t.Errorf("%s %v: %s is %v live, %v from tcpdump's capture", l.tuple(), l["close_kind"], field, l[field], want)
				}
			case l[field] != want:
				t.Errorf("%s %v: %s is %v live, %v from tcpdump's capture", l.tuple(), l["close_kind"], field, l[field], want)
			}
		}
	}
}
