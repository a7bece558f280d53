package xdp

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// needRoot skips without privilege, and fails instead where CI must not skip.
func needRoot(tb testing.TB) {
	tb.Helper()
	if CheckPrivilege() == nil && os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		tb.Fatal("needs root")
	}
	tb.Skip("needs root")
}

// newNamespace moves the test into a network namespace of its own, which
// vanishes with the test's thread and what was opened in it.
func newNamespace(tb testing.TB) {
	tb.Helper()
	needRoot(tb)
	// The thread stays locked, so that it ends with the test's goroutine.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		tb.Fatal(err)
	}
	up(tb, "lo")
}

func up(tb testing.TB, name string) {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		tb.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		tb.Fatal(err)
	}
}

// captures returns the files of ../shared/captures beside the repository.
func captures(tb testing.TB) []string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, "..", "shared", "captures", "*.pcap"))
	if err != nil {
		tb.Fatal(err)
	}
	if len(files) == 0 {
		if os.Getenv("CI") == "true" {
			tb.Fatal("no captures")
		}
		tb.Skip("no captures beside the repository")
	}
	return files
}

// runner feeds frames to the tap program by BPF_PROG_RUN.
type runner struct {
	tb       testing.TB
	accounts *Accounts     // nil by sequence
	awaited  *awaitedNotes // nil otherwise
	program  *program
	out      []byte
	last     ProgramCounts
}

// verdict is what the program did with one frame.
type verdict struct {
	end     string
	action  uint32
	segment segment.Segment // valid where it was passed
}

func newRunner(tb testing.TB, maxFlows uint32, opts programOptions) *runner {
	tb.Helper()
	newNamespace(tb)
	opts.queues = 1
	r := &runner{tb: tb, out: make([]byte, 1<<17)}
	shared := r.open(maxFlows, &opts)
	p, err := loadProgram(shared, opts)
	if err != nil {
		tb.Fatal(err)
	}
	r.program = p
	tb.Cleanup(func() { _ = p.close() })
	// BPF_PROG_RUN lets frames arrive at queue 0 of lo.
	s, err := openSocket(1, 0, 64)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.close() })
	if err := p.Sockets.Put(uint32(0), uint32(s.fd)); err != nil {
		tb.Fatal(err)
	}
	return r
}

// open makes the maps that a tap's programs share.
func (r *runner) open(maxFlows uint32, opts *programOptions) map[string]*ebpf.Map {
	r.tb.Helper()
	if opts.sequence {
		awaited, err := openAwaited()
		if err != nil {
			r.tb.Fatal(err)
		}
		r.tb.Cleanup(func() { _ = awaited.close() })
		r.awaited, opts.secret = awaited, awaited.secret
		return awaited.shared()
	}
	accounts, err := OpenAccounts(maxFlows)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() { _ = accounts.Close() })
	r.accounts = accounts
	return accounts.Shared()
}

func (r *runner) run(frame []byte) verdict {
	r.tb.Helper()
	options := ebpf.RunOptions{Data: frame, DataOut: r.out}
	action, err := r.program.Tap.Run(&options)
	if err != nil {
		r.tb.Fatalf("run a frame of %d octets: %v", len(frame), err)
	}
	v := verdict{action: action, end: r.ended(len(frame))}
	if v.end == "passed" {
		if len(options.DataOut) != segment.Size {
			r.tb.Fatalf("passed %d octets, want %d", len(options.DataOut), segment.Size)
		}
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&v.segment)), segment.Size), options.DataOut)
	}
	return v
}

// ended returns the one end that the ledger counted since the last call.
func (r *runner) ended(octets int) string {
	r.tb.Helper()
	now, err := r.program.counts()
	if err != nil {
		r.tb.Fatal(err)
	}
	if now.Frames() != r.last.Frames()+1 || now.Octets != r.last.Octets+uint64(octets) {
		r.tb.Fatalf("a frame of %d octets: ledger went from %+v to %+v", octets, r.last, now)
	}
	end := ""
	for i, n := range now.Ends {
		switch n - r.last.Ends[i] {
		case 0:
		case 1:
			if end != "" {
				r.tb.Fatalf("a frame ended as %q and as %q", end, EndNames[i])
			}
			end = EndNames[i]
		default:
			r.tb.Fatalf("ledger went from %+v to %+v", r.last, now)
		}
	}
	if end == "" {
		r.tb.Fatal("a frame ended nowhere")
	}
	r.last = now
	return end
}

// peek returns one entry by a segment's tuple, in the segment's own order.
func (r *runner) peek(f frame) (own, other segment.Direction, found bool) {
	r.tb.Helper()
	var s segment.Segment
	if segment.Decode(segment.LinkEthernet, f.bytes(), &s) != segment.TCP {
		r.tb.Fatal("not a TCP frame")
	}
	key, side := segment.KeyOf(&s)
	counters := make([]segment.Counters, 1)
	if err := r.accounts.Peek([]segment.Key{key}, counters); err != nil {
		r.tb.Fatal(err)
	}
	return counters[0][side], counters[0][side^1], counters[0].Found()
}

// frame describes an Ethernet frame with a TCP segment; the zero value of a
// field stands for a plain one.
type frame struct {
	reverse    bool // from the server to the client
	v6         bool
	clientPort uint16 // 40000
	tags       []uint16
	tagType    uint16 // 0x8100
	options    int    // octets of IPv4 options
	extensions []byte // IPv6 extension headers, whole
	next       uint8  // of the IPv6 header, where there are extensions
	flags      uint8
	seq, ack   uint32
	tcpOptions int
	payload    int
	pad        int // octets behind the IP packet
	length     int // IP length field, -1 for 0
}

func (f frame) bytes() []byte {
	buffer := make([]byte, 12, 128)
	for _, tag := range f.tags {
		tagType := f.tagType
		if tagType == 0 {
			tagType = 0x8100
		}
		buffer = binary.BigEndian.AppendUint16(buffer, tagType)
		buffer = binary.BigEndian.AppendUint16(buffer, tag)
	}
	buffer = f.appendIP(buffer)
	buffer = f.appendTCP(buffer)
	return append(buffer, make([]byte, f.payload+f.pad)...)
}

func (f frame) appendIP(buffer []byte) []byte {
	tcp := 20 + f.tcpOptions + f.payload
	client, server := byte(1), byte(2)
	if f.reverse {
		client, server = server, client
	}
	field := func(n int) uint16 {
		switch {
		case f.length < 0:
			return 0
		case f.length > 0:
			return uint16(f.length)
		default:
			return uint16(n)
		}
	}
	if f.v6 {
		next := uint8(6)
		if len(f.extensions) > 0 {
			next = f.next
		}
		buffer = append(buffer, 0x86, 0xdd, 0x60, 0, 0, 0)
		buffer = binary.BigEndian.AppendUint16(buffer, field(len(f.extensions)+tcp))
		buffer = append(buffer, next, 64)
		buffer = append(buffer, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, client)
		buffer = append(buffer, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, server)
		return append(buffer, f.extensions...)
	}
	buffer = append(buffer, 8, 0, 0x45+byte(f.options/4), 0)
	buffer = binary.BigEndian.AppendUint16(buffer, field(20+f.options+tcp))
	buffer = append(buffer, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, client, 10, 0, 0, server)
	return append(buffer, make([]byte, f.options)...)
}

func (f frame) appendTCP(buffer []byte) []byte {
	client := f.clientPort
	if client == 0 {
		client = 40000
	}
	ports := []uint16{client, 443}
	if f.reverse {
		ports[0], ports[1] = ports[1], ports[0]
	}
	buffer = binary.BigEndian.AppendUint16(buffer, ports[0])
	buffer = binary.BigEndian.AppendUint16(buffer, ports[1])
	buffer = binary.BigEndian.AppendUint32(buffer, f.seq)
	buffer = binary.BigEndian.AppendUint32(buffer, f.ack)
	buffer = append(buffer, byte(5+f.tcpOptions/4)<<4, f.flags, 1, 0, 0, 0, 0, 0)
	return append(buffer, make([]byte, f.tcpOptions)...)
}
