package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/api/report"
	"github.com/finwait/finwait/xdp/pcap/pcaptest"
)

// writeTraffic makes a capture and returns its path.
func writeTraffic(t testing.TB, name string, traffic pcaptest.Traffic) (string, pcaptest.Made) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var to io.Writer = file
	packed := strings.HasSuffix(name, ".gz")
	if packed {
		to = gzip.NewWriter(file)
	}
	made, err := traffic.Write(to)
	if err != nil {
		t.Fatal(err)
	}
	if packed {
		if err := to.(*gzip.Writer).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path, made
}

// checkCloses holds records against how the connections of a capture are known
// to have closed.
func checkCloses(t *testing.T, records []object, made pcaptest.Made) {
	t.Helper()
	closes, segments := map[string]uint64{}, uint64(0)
	for _, r := range records {
		closes[r["close_kind"].(string)]++
		segments += uint64(r.integer(t, "client_packets") + r.integer(t, "server_packets"))
	}
	for kind, want := range made.Closes {
		if name := pcaptest.Close(kind).String(); closes[name] != want {
			t.Errorf("%d records of %s, want %d", closes[name], name, want)
		}
	}
	if segments != made.Segments {
		t.Errorf("the records have %d segments, the capture %d", segments, made.Segments)
	}
}

// Whichever way a capture is read, every connection has its record and every
// segment is in one.
func TestReplayKnowsEveryClose(t *testing.T) {
	const connections = 4000
	for name, traffic := range map[string]pcaptest.Traffic{
		"whole.pcap":      {Connections: connections},
		"whole.pcapng":    {Connections: connections, NG: true, Seed: 1},
		"snapped.pcap":    {Connections: connections, Snap: 96, Seed: 2},
		"snapped.pcap.gz": {Connections: connections, Snap: 96, Seed: 3},
	} {
		t.Run(name, func(t *testing.T) {
			path, made := writeTraffic(t, name, traffic)
			status, stdout, stderr := finwait("replay", "--format", "ndjson", path)
			if status != 0 {
				t.Fatalf("exit status %d: %s", status, stderr)
			}
			records := readObjects(t, stdout)
			if len(records) != connections {
				t.Errorf("%d records of %d connections", len(records), connections)
			}
			checkCloses(t, records, made)
			for _, want := range []string{
				fmt.Sprintf("packets      %d, %d octets\n", made.Packets, made.Octets),
				fmt.Sprintf("not_tcp        %10d\n", made.Packets-made.Segments),
			} {
				if !strings.Contains(stderr, want) {
					t.Errorf("the summary lacks %q: %s", want, stderr)
				}
			}
		})
	}
}

// arrivals tells of the first octets that are written to it.
type arrivals chan struct{}

func (a arrivals) Write(b []byte) (int, error) {
	select {
	case a <- struct{}{}:
	default:
	}
	return len(b), nil
}

// A pipe's records come while its writer is silent, however few they are.
func TestReplayPipeIsPrompt(t *testing.T) {
	path, _ := writeTraffic(t, "x.pcap", pcaptest.Traffic{Connections: 100, Rate: 1})
	octets, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	out, status := make(arrivals, 1), make(chan int, 1)
	go func() {
		status <- execute(t.Context(), []string{"replay", "--format", "ndjson", fifo}, out, io.Discard)
	}()
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	most := len(octets) * 9 / 10
	if _, err := w.Write(octets[:most]); err != nil {
		t.Fatal(err)
	}
	select {
	case <-out:
	case <-time.After(20 * time.Second):
		t.Error("no record while the writer is silent")
	}
	if _, err := w.Write(octets[most:]); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if s := <-status; s != 0 {
		t.Errorf("exit status %d", s)
	}
}

// benchmarked is the capture of the benchmarks: 150,000 connections, two million
// packets.
var benchmarked = pcaptest.Traffic{Connections: 150000}

// coolDown has a file read from its medium next, as one that was not just written.
func coolDown(b *testing.B, path string) {
	b.Helper()
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := file.Sync(); err != nil {
		b.Fatal(err)
	}
	if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkReplay replays a capture as processes of their own, in turn with tcpdump and
// softflowd where these are installed, and reports the medians of finwait's CPU and wall
// time and of its ratios to the others. In each turn a program runs twice, and the second
// run counts: a hypervisor that takes free memory back gives it anew to the first, after
// the others. What the first runs took is reported, too. The first turn, which reads the
// file from its medium, does not count.
func BenchmarkReplay(b *testing.B) {
	path, made := writeTraffic(b, "traffic.pcap", benchmarked)
	coolDown(b, path)
	binary := filepath.Join(b.TempDir(), "finwait")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	sink, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	programs := []*measured{
		{args: []string{binary, "replay", "--format", "summary", path}},
		{args: []string{"tcpdump", "-r", path, "-w", os.DevNull}},
		// With a control socket it may wait for ever for somebody to connect to it.
		{args: []string{"softflowd", "-d", "-6", "-r", path, "-n", sink.LocalAddr().String(),
			"-p", filepath.Join(b.TempDir(), "pid"), "-c", "none"}},
	}
	for _, p := range programs {
		p.turn(b)
		p.first, p.cpu, p.wall = nil, nil, nil
	}
	for b.Loop() {
		for _, p := range programs {
			p.turn(b)
		}
	}
	finwait, tcpdump, softflowd := programs[0], programs[1], programs[2]
	packets := float64(made.Packets)
	b.ReportMetric(report.Median(finwait.cpu)/packets, "finwait-cpu-ns/packet")
	b.ReportMetric(report.Median(finwait.wall)/packets, "finwait-ns/packet")
	if len(tcpdump.wall) > 0 {
		b.ReportMetric(report.Median(finwait.wall)/report.Median(tcpdump.wall), "wall/tcpdump")
	}
	if len(softflowd.cpu) > 0 {
		b.ReportMetric(report.Median(finwait.cpu)/report.Median(softflowd.cpu), "cpu/softflowd")
		b.ReportMetric(report.Median(finwait.first)/report.Median(softflowd.first), "first-cpu/softflowd")
	}
}

// BenchmarkReplayInProcess is what the compiler's profile is taken from (make profile).
func BenchmarkReplayInProcess(b *testing.B) {
	path, _ := writeTraffic(b, "traffic.pcap", benchmarked)
	for b.Loop() {
		if status := execute(b.Context(), []string{"replay", "--format", "summary", path}, io.Discard, io.Discard); status != 0 {
			b.Fatalf("exit status %d", status)
		}
	}
}

// measured is a program, and the ns of each first and each second run.
type measured struct {
	args             []string
	first, cpu, wall []float64
}

// turn runs it twice, unless it is not installed.
func (m *measured) turn(b *testing.B) {
	b.Helper()
	path, err := exec.LookPath(m.args[0])
	if err != nil {
		return
	}
	cpu, _ := m.run(b, path)
	m.first = append(m.first, cpu)
	cpu, wall := m.run(b, path)
	m.cpu, m.wall = append(m.cpu, cpu), append(m.wall, wall)
}

func (m *measured) run(b *testing.B, path string) (cpu, wall float64) {
	b.Helper()
	limit, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	cmd := exec.CommandContext(limit, path, m.args[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", m.args[0], err, out)
	}
	wall = float64(time.Since(start))
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return float64(usage.Utime.Nano() + usage.Stime.Nano()), wall
}
