//go:build interop

package packet

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/lab"
)

// TestInteropTshark holds the segments of connections with data in both
// directions against those that tshark sees on the same interface, with their
// times.
func TestInteropTshark(t *testing.T) {
	s := newSite(t)
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Fatalf("%v: 'make interop' installs it", err)
	}
	target := s.serve(lab.Server, serverAddress+":0")
	command := exec.Command(tshark, "-n", "-l", "-i", clientInterface, "-f", fmt.Sprintf("tcp port %d", target.Port()), "-T", "fields",
		"-e", "frame.time_epoch", "-e", "tcp.srcport", "-e", "tcp.dstport", "-e", "tcp.seq_raw", "-e", "tcp.ack_raw", "-e", "tcp.flags", "-e", "tcp.len")
	var lines bytes.Buffer
	command.Stdout = &lines
	says, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.do(lab.Client, command.Start)
	t.Cleanup(func() {
		if command.ProcessState == nil {
			_ = command.Process.Kill()
			_ = command.Wait()
		}
	})
	ready := bufio.NewReader(says)
	for line := ""; !strings.Contains(line, "Capturing on"); {
		if line, err = ready.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * time.Second) // it says so a little before it is so
	source := s.open(lab.Client, Config{Interface: clientInterface, Target: target})
	var all []segment.Segment
	for _, octets := range []int{0, 1, 1000, 300_000, 0} {
		client := s.exchange(target, octets)
		all = append(all, receive(t, source, func(all []segment.Segment) bool { return closed(all, client) })...)
	}
	time.Sleep(time.Second)
	if err := command.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, ready); err != nil {
		t.Error(err)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
	ours, theirs := map[string]int64{}, map[string]int64{}
	var distance clock
	for range 10 { // one look may be interrupted, which the next one mends
		distance.refresh()
	}
	// Segments may be alike; their order then tells them apart.
	add := func(to map[string]int64, at int64, key string) {
		for n := 2; to[key] != 0; n++ {
			key, _, _ = strings.Cut(key, " again")
			key += fmt.Sprintf(" again %d", n)
		}
		to[key] = at
	}
	const form = "%d>%d %d %d %#04x %d"
	for _, s := range all {
		add(ours, s.At+distance.offset, fmt.Sprintf(form, s.SrcPort, s.DstPort, s.Seq, s.Ack, s.TCPFlags, s.Payload))
	}
	for line := range strings.Lines(lines.String()) {
		var seconds, ns int64
		var src, dst uint16
		var seq, ack, payload uint32
		var flags uint16
		if _, err := fmt.Sscanf(line, "%d.%d %d %d %d %d %v %d", &seconds, &ns, &src, &dst, &seq, &ack, &flags, &payload); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		add(theirs, seconds*1e9+ns, fmt.Sprintf(form, src, dst, seq, ack, flags&0xff, payload))
	}
	if len(all) < 40 || len(theirs) != len(ours) {
		t.Errorf("%d segments, %d by tshark", len(ours), len(theirs))
	}
	worst := int64(0)
	for key := range maps.Keys(ours) {
		at, seen := theirs[key]
		if !seen {
			t.Errorf("%s was not seen by tshark", key)
			continue
		}
		worst = max(worst, at-ours[key], ours[key]-at)
	}
	// Both have the kernel's stamp; what differs is the distance of the clocks.
	if worst > int64(100*time.Microsecond) {
		t.Errorf("the times differ by up to %d ns", worst)
	}
	t.Logf("%d segments, times differ by up to %d ns", len(ours), worst)
}
