package gateway

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/segment/segmenttest"
	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
)

// runner feeds frames to the program at an interface by BPF_PROG_RUN, and reads what it
// writes into its ring.
type runner struct {
	*site
	gateway *Gateway
	hook    *hook
	last    xdp.ProgramCounts
	batch   [4]*segment.Segment
}

func newRunner(tb testing.TB) *runner {
	tb.Helper()
	s := newSite(tb)
	g := s.open(Config{Interfaces: []string{lan}, SegmentLimit: 1 << 40, Queues: 1, describeAll: true})
	// Nothing but the test's frames is to come by, not even the client's own IPv6.
	s.In(s.Client, func() error {
		link, err := netlink.LinkByName(gatewaytest.End)
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(link)
	})
	r := &runner{site: s, gateway: g, hook: g.ports[0].hooks[0]}
	var err error
	if r.last, err = xdp.ReadCounts(r.hook.ledger); err != nil {
		tb.Fatal(err)
	}
	return r
}

// run returns how a frame ended, and its segment where it was passed.
func (r *runner) run(frame []byte) (end string, s *segment.Segment) {
	r.tb.Helper()
	var verdict uint32
	r.In(r.Box, func() (err error) {
		verdict, err = r.hook.program.Run(&ebpf.RunOptions{Data: frame})
		return err
	})
	if int32(verdict) != -1 {
		r.tb.Fatalf("a frame of %d octets has the verdict %d, not to go on", len(frame), int32(verdict))
	}
	now, err := xdp.ReadCounts(r.hook.ledger)
	if err != nil {
		r.tb.Fatal(err)
	}
	if now.Frames() != r.last.Frames()+1 {
		r.tb.Fatalf("a frame of %d octets: ledger went from %+v to %+v", len(frame), r.last, now)
	}
	for i := range now.Ends {
		if now.Ends[i] != r.last.Ends[i] {
			end = xdp.EndNames[i]
		}
	}
	r.last = now
	if end != "passed" {
		return end, nil
	}
	n, err := r.gateway.Queues()[0].Receive(r.batch[:], 2*time.Second)
	if err != nil || n != 1 {
		r.tb.Fatalf("%d segments came of a frame of %d octets that was passed: %v", n, len(frame), err)
	}
	return end, r.batch[0]
}

// agrees holds what became of a frame against segment.Decode.
func (r *runner) agrees(name string, frame []byte) {
	r.tb.Helper()
	var want segment.Segment
	outcome := segment.Decode(segment.LinkEthernet, frame, &want)
	end, got := r.run(frame)
	if outcome != segment.TCP {
		if end != xdp.EndNames[outcome] {
			r.tb.Errorf("%s: ended as %q, want %q", name, end, xdp.EndNames[outcome])
		}
		return
	}
	if got == nil {
		r.tb.Errorf("%s: ended as %q, and was to be passed", name, end)
		return
	}
	if got.Marks&segment.PerInterface == 0 || got.Interface != 1 {
		r.tb.Errorf("%s: of interface %d, marks %b", name, got.Interface, got.Marks)
	}
	same := *got
	same.At, same.Marks, same.Interface, same.WireLength = want.At, want.Marks, want.Interface, want.WireLength
	same.Own, same.Other = want.Own, want.Other
	if same != want {
		r.tb.Errorf("%s:\n got %+v\nwant %+v", name, same, want)
	}
	if got.WireLength != uint32(len(frame)) {
		r.tb.Errorf("%s: wire length is %d, not %d", name, got.WireLength, len(frame))
	}
}

// TestDecodersAgree runs the program over every way to wrap a connection, and over
// frames that are no segment.
func TestDecodersAgree(t *testing.T) {
	r := newRunner(t)
	for _, c := range segmenttest.Cases() {
		if len(c.Frame) < 14 { // BPF_PROG_RUN takes no less
			continue
		}
		r.agrees(c.Name, c.Frame)
	}
}

// TestCapturesAgree is the same over the captures.
func TestCapturesAgree(t *testing.T) {
	r := newRunner(t)
	files := captures(t)
	for _, file := range files {
		name := filepath.Base(file)
		for i, frame := range frames(t, file) {
			if len(frame) < 14 || i == 3000 {
				continue
			}
			r.agrees(name, frame)
			if t.Failed() {
				t.Fatalf("frame %d of %q", i+1, name)
			}
		}
	}
}

// captures returns the files of ../shared/captures beside the repository.
func captures(t *testing.T) []string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, "..", "shared", "captures", "*.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("no captures")
		}
		t.Skip("no captures beside the repository")
	}
	return files
}

// frames reads those of a capture of Ethernet, none of any other.
func frames(t *testing.T, file string) (all [][]byte) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reader, err := pcapgo.NewReader(f)
	if err != nil || reader.LinkType() != 1 {
		return nil
	}
	for {
		data, info, err := reader.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			return all // of a capture that is cut on purpose
		}
		if info.CaptureLength == info.Length {
			all = append(all, data)
		}
	}
}

// TestTagsBeside: what arrives with tags has them beside the frame by then, the
// outermost at least.
func TestTagsBeside(t *testing.T) {
	s := newSite(t)
	g := s.open(Config{Interfaces: []string{lan}, Queues: 1, describeAll: true})
	send := s.injector(s.Client, gatewaytest.End)
	sent := 0
	for _, c := range segmenttest.Cases() {
		var want segment.Segment
		if segment.Decode(segment.LinkEthernet, c.Frame, &want) != segment.TCP || want.VLAN == 0 {
			continue
		}
		send(c.Frame)
		sent++
		var batch [1]*segment.Segment
		n, err := g.Queues()[0].Receive(batch[:], 2*time.Second)
		if err != nil || n != 1 {
			t.Fatalf("%s: %d segments: %v; %v", c.Name, n, err, ledger(g))
		}
		got := batch[0]
		if got.VLAN != want.VLAN || got.Encapsulation != want.Encapsulation || got.SrcPort != want.SrcPort || got.WireLength != uint32(len(c.Frame)) {
			t.Errorf("%s: VLAN %d, %v, %d octets; want %d, %v, %d", c.Name,
				got.VLAN, got.Encapsulation, got.WireLength, want.VLAN, want.Encapsulation, len(c.Frame))
		}
	}
	if sent < 3 {
		t.Errorf("%d frames with tags were tried", sent)
	}
}

// injector sends frames as they are out of an interface of a namespace.
func (s *site) injector(ns *os.File, name string) func(frame []byte) {
	s.tb.Helper()
	var fd, index int
	s.In(ns, func() (err error) {
		index = gatewaytest.IndexOf(name)
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	s.tb.Cleanup(func() { _ = unix.Close(fd) })
	return func(frame []byte) {
		s.tb.Helper()
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
			s.tb.Fatal(err)
		}
	}
}
