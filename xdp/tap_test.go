package xdp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// newPair makes a veth pair in the test's namespace: frames sent on far arrive
// at near.
func newPair(tb testing.TB, near, far string, queues int) {
	tb.Helper()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = near
	attributes.NumTxQueues, attributes.NumRxQueues = queues, queues
	pair := &netlink.Veth{
		LinkAttrs: attributes, PeerName: far,
		PeerNumTxQueues: uint32(queues), PeerNumRxQueues: uint32(queues),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		tb.Fatal(err)
	}
	for _, name := range []string{near, far} {
		// Neither neighbour discovery nor duplicate address detection.
		quiet := "/proc/thread-self/net/../../../sys/net/ipv6/conf/" + name + "/disable_ipv6"
		if err := os.WriteFile(quiet, []byte("1"), 0); err != nil && !os.IsNotExist(err) {
			tb.Fatal(err)
		}
		up(tb, name)
	}
}

func openTap(tb testing.TB, config Config) *Tap {
	tb.Helper()
	if config.MaxFlows == 0 {
		config.MaxFlows = 10000
	}
	if config.RingSize == 0 {
		config.RingSize = 1024
	}
	tap, err := Open(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := tap.Close(); err != nil {
			tb.Error(err)
		}
	})
	return tap
}

// sender puts whole frames on an interface.
type sender struct {
	tb testing.TB
	fd int
}

func newSender(tb testing.TB, name string) *sender {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Close(fd) })
	at, err := netlink.LinkByName(name)
	if err != nil {
		tb.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: at.Attrs().Index}); err != nil {
		tb.Fatal(err)
	}
	return &sender{tb: tb, fd: fd}
}

func (s *sender) send(f []byte) {
	s.tb.Helper()
	for {
		_, err := unix.Write(s.fd, f)
		if errors.Is(err, unix.ENOBUFS) {
			continue
		}
		if err != nil {
			s.tb.Fatal(err)
		}
		return
	}
}

// gather receives until there are n segments, and gives up after a while.
func gather(tb testing.TB, queues []*Queue, n int) []segment.Segment {
	tb.Helper()
	return gatherFor(tb, queues, n, 500)
}

// gatherFor gives up after so many looks of 10 ms that found nothing.
func gatherFor(tb testing.TB, queues []*Queue, n, patience int) []segment.Segment {
	tb.Helper()
	var got []segment.Segment
	batch := make([]*segment.Segment, 16)
	for idle := 0; len(got) < n && idle < patience; idle++ {
		for _, q := range queues {
			m, err := q.Receive(batch, 10*time.Millisecond/time.Duration(len(queues)))
			if err != nil {
				tb.Fatal(err)
			}
			for _, s := range batch[:m] {
				got = append(got, *s)
				idle = 0
			}
		}
	}
	return got
}

func (t *Tap) value(tb testing.TB, stage, reason string) uint64 {
	tb.Helper()
	sum, found := uint64(0), false
	for _, c := range t.Ledger() {
		if c.Stage == stage && c.Reason == reason {
			sum += c.Value
			found = true
		}
	}
	if !found {
		tb.Fatalf("the ledger has no %s %s", stage, reason)
	}
	return sum
}

// checkLedger: frames are the sum of their ends.
func (t *Tap) checkLedger(tb testing.TB) {
	tb.Helper()
	sum := uint64(0)
	for _, end := range EndNames[:tapEnds] {
		sum += t.value(tb, StageProgram, end)
	}
	if frames := t.value(tb, StageProgram, "frames"); frames != sum {
		tb.Errorf("%d frames, %d ends: %+v", frames, sum, t.Ledger())
	}
}

// TestTapReceives sends crafted frames, many times as many as the ring holds,
// and compares every segment with what was sent.
func TestTapReceives(t *testing.T) {
	for name, config := range map[string]Config{
		modeNative: {}, modeGeneric: {Generic: true}, "busy polling": {BusyPoll: true},
	} {
		t.Run(name, func(t *testing.T) {
			newNamespace(t)
			newPair(t, "near", "far", 1)
			config.Interfaces, config.RingSize, config.describeAll = []string{"near"}, 64, true
			tap := openTap(t, config)
			out := newSender(t, "far")
			kinds := []frame{
				{flags: ack, payload: 1000}, {}, {v6: true, flags: syn}, {tags: []uint16{0x0123}, flags: fin | ack},
				{tags: []uint16{4, 5}, tagType: 0x88a8, payload: 77}, {flags: psh, options: 12, tcpOptions: 8},
				{v6: true, next: 60, extensions: extension(6, 16), flags: rst}, {flags: ack, payload: 1446},
			}
			near, _ := netlink.LinkByName("near")
			seq := uint32(0)
			for range 150 {
				var sent []segment.Segment
				for _, kind := range kinds {
					seq++
					kind.seq = seq
					f := kind.bytes()
					var s segment.Segment
					if segment.Decode(segment.LinkEthernet, f, &s) != segment.TCP {
						t.Fatal("not TCP")
					}
					s.WireLength, s.Interface = uint32(len(f)), uint32(near.Attrs().Index)
					sent = append(sent, s)
					out.send(f)
				}
				compareSegments(t, gather(t, tap.Queues(), len(sent)), sent)
			}
			tap.checkLedger(t)
			if lost, err := tap.Queues()[0].Lost(); lost != 0 || err != nil {
				t.Errorf("lost %d: %v", lost, err)
			}
			if passed := tap.value(t, StageProgram, "passed"); passed != uint64(seq) {
				t.Errorf("passed %d of %d", passed, seq)
			}
			t.Log(strings.Join(tap.Facts(), "\n"), tap.Warnings())
		})
	}
}

const psh = segment.PSH

func compareSegments(t *testing.T, got, sent []segment.Segment) {
	t.Helper()
	if len(got) != len(sent) {
		t.Fatalf("received %d segments, sent %d", len(got), len(sent))
	}
	for i := range got {
		if i > 0 && got[i].At < got[i-1].At {
			t.Errorf("segment %d at %d, the one before at %d", i, got[i].At, got[i-1].At)
		}
		got[i].At, got[i].Marks = 0, 0
		got[i].Own, got[i].Other = segment.Direction{}, segment.Direction{}
		if got[i] != sent[i] {
			t.Fatalf("segment %d is\n%+v, sent was\n%+v", i, got[i], sent[i])
		}
	}
}

// TestTapOverrun: what a full ring loses is counted, to the segment.
func TestTapOverrun(t *testing.T) {
	newNamespace(t)
	newPair(t, "near", "far", 1)
	tap := openTap(t, Config{Interfaces: []string{"near"}, RingSize: 64})
	out := newSender(t, "far")
	f := frame{flags: syn}.bytes()
	for range 500 {
		out.send(f)
	}
	for tap.value(t, StageProgram, "frames") < 500 {
		time.Sleep(time.Millisecond)
	}
	got := gather(t, tap.Queues(), 64)
	lost, err := tap.Queues()[0].Lost()
	if err != nil || len(got) != 64 || lost != 500-64 {
		t.Errorf("received %d, lost %d: %v", len(got), lost, err)
	}
	out.send(f)
	if got := gather(t, tap.Queues(), 1); len(got) != 1 {
		t.Error("nothing is received after an overrun")
	}
	if full := tap.value(t, StageSocket, "rx_ring_full"); full != 500-64 {
		t.Errorf("rx_ring_full is %d", full)
	}
	tap.checkLedger(t)
}

// TestTapQueues spreads connections over several queues and interfaces, all in
// one flow table.
func TestTapQueues(t *testing.T) {
	newNamespace(t)
	newPair(t, "near0", "far0", 3)
	newPair(t, "near1", "far1", 2)
	tap := openTap(t, Config{Interfaces: []string{"near0", "near1"}})
	queues := tap.Queues()
	if len(queues) != 5 {
		t.Fatalf("%d queues, want 5", len(queues))
	}
	for id, q := range queues {
		want := fmt.Sprintf("near%d %d %d", id/3, id-id/3*3, id)
		if got := fmt.Sprintf("%s %d %d", q.Interface(), q.Index(), q.ID()); got != want {
			t.Errorf("queue %s, want %s", got, want)
		}
	}
	// One direction arrives at one interface, the other at the other, as from
	// an optical tap.
	clients, servers := newSender(t, "far0"), newSender(t, "far1")
	const connections = 200
	for i := range uint16(connections) {
		f := client(fin|ack, 100, 200, 10)
		f.clientPort = 1000 + i
		clients.send(f.bytes())
	}
	seen := gather(t, queues[:3], connections)
	for i := range uint16(connections) {
		f := server(ack, 200, 111, 0)
		f.clientPort = 1000 + i
		servers.send(f.bytes())
	}
	answers := gather(t, queues[3:], connections)
	if len(seen) != connections || len(answers) != connections {
		t.Fatalf("%d FINs and %d answers of %d", len(seen), len(answers), connections)
	}
	for _, s := range answers {
		if tap.InterfaceName(s.Interface) != "near1" || s.Other.Payload != 10 || s.Other.Packets != 1 {
			t.Fatalf("answer at %q: %+v", tap.InterfaceName(s.Interface), s)
		}
	}
	if name := tap.InterfaceName(999); name != "" {
		t.Errorf("interface 999 is %q", name)
	}
	if passed := tap.value(t, StageProgram, "passed"); passed != 2*connections {
		t.Errorf("passed %d", passed)
	}
	tap.checkLedger(t)
}

// TestTapQueueSelection delivers a frame to every queue of an interface.
func TestTapQueueSelection(t *testing.T) {
	newNamespace(t)
	newPair(t, "near", "far", 4)
	tap := openTap(t, Config{Interfaces: []string{"near"}})
	out := newSender(t, "far")
	reached := make(map[int]bool)
	for port := range uint16(2000) {
		f := client(syn, 1, 0, 0)
		f.clientPort = port + 1
		out.send(f.bytes())
		// A packet socket sends on the queue of its CPU or of the flow's hash.
		for _, q := range tap.Queues() {
			batch := make([]*segment.Segment, 4)
			n, err := q.Receive(batch, 0)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				reached[q.Index()] = true
			}
		}
	}
	if len(reached) < 2 {
		t.Errorf("only queues %v were reached", reached)
	}
}

// TestTapReopens: nothing is left of a tap, and another is opened at once.
func TestTapReopens(t *testing.T) {
	newNamespace(t)
	newPair(t, "near", "far", 1)
	out := newSender(t, "far")
	files, mapped := openFiles(t), ringMappings(t)
	for i := range uint32(6) {
		tap, err := Open(Config{Interfaces: []string{"near"}, MaxFlows: 100, RingSize: 64})
		if err != nil {
			t.Fatalf("opening %d: %v", i, err)
		}
		out.send(frame{flags: syn, seq: i}.bytes())
		if got := gather(t, tap.Queues(), 1); len(got) != 1 || got[0].Seq != i {
			t.Fatalf("opening %d: received %+v", i, got)
		}
		if err := errors.Join(tap.Close(), tap.Close()); err != nil {
			t.Fatalf("closing %d: %v", i, err)
		}
		checkUntouched(t, "near")
	}
	checkReleased(t, files, mapped)
}

// TestQueueReopens binds, attaches, receives and closes fifty times on one
// queue, with a program that is loaded once.
func TestQueueReopens(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	newPair(t, "near", "far", 1)
	out := newSender(t, "far")
	near, err := netlink.LinkByName("near")
	if err != nil {
		t.Fatal(err)
	}
	nic := &netInterface{name: "near", index: near.Attrs().Index}
	files, mapped := openFiles(t), ringMappings(t)
	for i := range uint32(50) {
		q, err := openQueue(queueConfig{Name: nic.name, Interface: nic.index, RingSize: 64})
		if err != nil {
			t.Fatalf("opening %d: %v", i, err)
		}
		attached, err := attach(nic, r.program.Tap, false)
		if err != nil {
			t.Fatalf("attaching %d: %v", i, err)
		}
		if err := r.program.Sockets.Put(uint32(0), uint32(q.socket.fd)); err != nil {
			t.Fatal(err)
		}
		out.send(frame{flags: syn, seq: i}.bytes())
		if got := gather(t, []*Queue{q}, 1); len(got) != 1 || got[0].Seq != i {
			t.Fatalf("opening %d: received %+v", i, got)
		}
		if err := errors.Join(attached.link.Close(), q.Close()); err != nil {
			t.Fatalf("closing %d: %v", i, err)
		}
	}
	checkReleased(t, files, mapped)
}

// checkReleased allows a few files, which come and go with the runtime.
func checkReleased(t *testing.T, files, mapped int) {
	t.Helper()
	if now := ringMappings(t); now != mapped {
		t.Errorf("%d ring mappings, %d before", now, mapped)
	}
	if now := openFiles(t); now > files+4 {
		t.Errorf("%d open files, %d before", now, files)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	runtime.GC()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func ringMappings(t *testing.T) int {
	t.Helper()
	all, err := socketAreas()
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// checkUntouched: no program, no promiscuity, all features on.
func checkUntouched(t *testing.T, name string) {
	t.Helper()
	at, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if a := at.Attrs(); a.Xdp != nil && a.Xdp.Attached || a.Promisc != 0 {
		t.Errorf("interface %q: program %+v, promiscuity %d", name, a.Xdp, a.Promisc)
	}
	if !vlanStripped(t, name) {
		t.Errorf("interface %q: VLAN stripping is off", name)
	}
}

func vlanStripped(t *testing.T, name string) bool {
	t.Helper()
	tool, err := openEthtool()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tool.close() }()
	features, err := tool.features(name)
	if err != nil {
		t.Fatal(err)
	}
	return features["rx-vlan-hw-parse"].on
}

// TestTapPutsBack: what is changed is reported, and put back.
func TestTapPutsBack(t *testing.T) {
	newNamespace(t)
	newPair(t, "near", "far", 1)
	if !vlanStripped(t, "near") {
		t.Fatal("a new veth does not strip VLAN tags")
	}
	tap := openTap(t, Config{Interfaces: []string{"near"}})
	at, err := netlink.LinkByName("near")
	if err != nil {
		t.Fatal(err)
	}
	if at.Attrs().Promisc != 1 || vlanStripped(t, "near") {
		t.Errorf("promiscuity %d, VLAN stripping %v", at.Attrs().Promisc, vlanStripped(t, "near"))
	}
	facts := strings.Join(tap.Facts(), "\n")
	for _, want := range []string{`interface "near": driver veth, native XDP, MTU 1500, 1 receive queues`,
		"set rx-vlan-hw-parse off until exit", "flow table: 10000 entries", "sockets: 1 of 1024 segments"} {
		if !strings.Contains(facts, want) {
			t.Errorf("no %q in the facts:\n%s", want, facts)
		}
	}
	if len(tap.Warnings()) != 0 {
		t.Errorf("warnings %q", tap.Warnings())
	}
	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	checkUntouched(t, "near")
}

// TestTapGenericWarning: a driver without native XDP is a warning.
func TestTapGenericWarning(t *testing.T) {
	newNamespace(t)
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "plain"
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
		t.Fatal(err)
	}
	up(t, "plain")
	tap := openTap(t, Config{Interfaces: []string{"plain"}})
	if w := tap.Warnings(); len(w) != 1 || !strings.Contains(w[0], `driver "bridge" of interface "plain" has no native XDP`) {
		t.Errorf("warnings %q", w)
	}
}

// TestReceiveWaits: no longer than asked; a vanished interface is an error.
func TestReceiveWaits(t *testing.T) {
	newNamespace(t)
	newPair(t, "near", "far", 1)
	tap := openTap(t, Config{Interfaces: []string{"near"}})
	q := tap.Queues()[0]
	batch := make([]*segment.Segment, 8)
	if n, err := q.Receive(batch, 0); n != 0 || err != nil {
		t.Fatalf("without a wait: %d, %v", n, err)
	}
	if n, err := q.Receive(batch, time.Microsecond); n != 0 || err != nil {
		t.Fatalf("in time: %d, %v", n, err)
	}
	near, err := netlink.LinkByName("near")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(near); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Receive(batch, 50*time.Millisecond); err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), `interface "near"`) {
		t.Errorf("a vanished interface: %v", err)
	}
}

// TestReceiveAllocates nothing, whether segments come or not.
func TestReceiveAllocates(t *testing.T) {
	newNamespace(t)
	newPair(t, "near", "far", 1)
	tap := openTap(t, Config{Interfaces: []string{"near"}})
	out, f := newSender(t, "far"), frame{flags: syn}.bytes()
	q := tap.Queues()[0]
	batch := make([]*segment.Segment, 8)
	received := 0
	if n := testing.AllocsPerRun(200, func() {
		for range 8 {
			out.send(f)
		}
		for range 3 {
			n, err := q.Receive(batch, time.Millisecond)
			if err != nil {
				t.Error(err)
			}
			received += n
		}
	}); n != 0 {
		t.Errorf("Receive allocates %v times", n)
	}
	if received == 0 {
		t.Error("nothing was received")
	}
}
