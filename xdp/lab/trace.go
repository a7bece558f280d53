package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
)

// SocketState is a state of a kernel socket (linux/tcp_states.h). Its names
// are those of RFC 9293, and NEW-SYN-RECEIVED and LISTEN.
type SocketState uint8

// The states that the kernel reports.
const (
	SocketEstablished SocketState = iota + 1
	SocketSYNSent
	SocketSYNReceived
	SocketFINWait1
	SocketFINWait2
	SocketTimeWait
	SocketClosed
	SocketCloseWait
	SocketLastACK
	SocketListen
	SocketClosing
	SocketNewSYNReceived
)

func (s SocketState) String() string {
	names := [...]string{"", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT",
		"CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING", "NEW-SYN-RECEIVED"}
	if int(s) >= len(names) {
		return fmt.Sprintf("state %d", uint8(s))
	}
	return names[s]
}

// Event is one change of one socket's state, reported by the kernel.
type Event struct {
	AtNS     int64 // CLOCK_MONOTONIC
	In       Namespace
	Cookie   uint64 // of the socket (SO_COOKIE)
	Local    netip.AddrPort
	Remote   netip.AddrPort
	Old, New SocketState
}

// Trace collects what the kernel reports of the sockets in the namespaces
// Client and Server, from the tracepoint sock:inet_sock_set_state.
//
// What the tracepoint says on Linux 6.18: FIN-WAIT-1 and LAST-ACK are reported
// before the FIN is sent; FIN-WAIT-2, CLOSE-WAIT and the CLOSED after LAST-ACK
// while the segment that brings them is processed. TIME-WAIT is never
// reported: the socket is exchanged for a smaller one without states of its
// own, and goes to CLOSED itself, from FIN-WAIT-2 or CLOSING. A socket that
// nobody holds any more (close) makes that exchange as soon as its FIN is
// acknowledged, so that only one held open (shutdown) tells when TIME-WAIT
// really begins. The accepted socket is first reported as it goes from LISTEN
// to SYN-RECEIVED, once the handshake is complete, and has lost its local port
// by the time that it is reported CLOSED.
//
// A change may stay untold. On Linux 6.18 in a virtual machine 3 of about
// 91,000 did, under load: the trace event of that name reported them, but the
// programs were not run, nor was that counted as a recursion miss. They were
// all the changes that a softirq made while a thread of process 1 was current,
// which there is the machine's own agent. Life.Whole tells.
type Trace struct {
	objects    statesObjects
	attached   []link.Link
	reader     *ringbuf.Reader
	namespace  map[uint32]Namespace
	wallOffset int64
	done       chan struct{}
	closing    sync.Once
	closeErr   error

	mu     sync.Mutex
	events []Event
	told   map[change]bool
	err    error
}

// change is what a socket does once in its life. Two programs report it, and
// at least one of them does (bpf/states.c); the first report is kept.
type change struct {
	cookie   uint64
	old, new SocketState
}

// Trace begins to listen. It ends with Close, or with ctx. It needs root and
// a kernel with BTF.
func (n *Network) Trace(ctx context.Context) (*Trace, error) {
	t := &Trace{namespace: map[uint32]Namespace{}, told: map[change]bool{}, done: make(chan struct{})}
	if err := t.open(n); err != nil {
		return nil, fmt.Errorf("trace socket states: %w", errors.Join(err, t.release()))
	}
	t.wallOffset = time.Now().UnixNano() - monotonic()
	go t.collect()
	context.AfterFunc(ctx, func() { _ = t.Close() }) // the next Close tells
	return t, nil
}

// Events returns what was reported so far, in order of time. It is complete
// after Close.
func (t *Trace) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	events := slices.Clone(t.events)
	slices.SortStableFunc(events, func(a, b Event) int { return int(a.AtNS - b.AtNS) })
	return events
}

// Wall is the wall time of a time of CLOCK_MONOTONIC, as the two stood to
// each other when the trace began.
func (t *Trace) Wall(atNS int64) time.Time { return time.Unix(0, atNS+t.wallOffset) }

// Close ends the trace, once everything reported is collected. It returns an
// error where reports were lost, and may be called more than once.
func (t *Trace) Close() error {
	t.closing.Do(func() {
		err := errors.Join(t.detach(), t.reader.Flush())
		<-t.done
		var lost uint64
		err = errors.Join(err, t.err, t.objects.Lost.Get(&lost))
		if lost > 0 {
			err = errors.Join(err, fmt.Errorf("%d reports found no room in the ring", lost))
		}
		if err = errors.Join(err, t.release()); err != nil {
			t.closeErr = fmt.Errorf("trace socket states: %w", err)
		}
	})
	return t.closeErr
}

func (t *Trace) open(n *Network) error {
	spec, err := loadStates()
	if err != nil {
		return err
	}
	var followed [2]uint32
	for i, in := range []Namespace{Client, Server} {
		if followed[i], err = n.Inode(in); err != nil {
			return err
		}
		t.namespace[followed[i]] = in
	}
	if err := spec.Variables[statesVarFollowed].Set(followed); err != nil {
		return err
	}
	if err := spec.LoadAndAssign(&t.objects, nil); err != nil {
		return fmt.Errorf("load program (needs root, and Linux 5.12 or newer with BTF): %w", err)
	}
	if t.reader, err = ringbuf.NewReader(t.objects.Changes); err != nil {
		return fmt.Errorf("open ring: %w", err)
	}
	for _, program := range []*ebpf.Program{t.objects.ReportFirst, t.objects.ReportSecond} {
		attached, err := link.AttachTracing(link.TracingOptions{Program: program})
		if err != nil {
			return fmt.Errorf("attach to %q: %w", "inet_sock_set_state", err)
		}
		t.attached = append(t.attached, attached)
	}
	return nil
}

// detach ends the reports. It may be called again.
func (t *Trace) detach() error {
	var problems []error
	for _, attached := range t.attached {
		problems = append(problems, attached.Close())
	}
	t.attached = nil
	return errors.Join(problems...)
}

// release frees what open made, all of it or a part.
func (t *Trace) release() error {
	problems := []error{t.detach()}
	if t.reader != nil {
		problems = append(problems, t.reader.Close())
	}
	return errors.Join(append(problems, t.objects.Close())...)
}

// collect reads the ring until it is flushed.
func (t *Trace) collect() {
	defer close(t.done)
	var record ringbuf.Record
	for {
		err := t.reader.ReadInto(&record)
		if errors.Is(err, ringbuf.ErrFlushed) || errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			t.err = err
			return
		}
		if len(record.RawSample) < int(unsafe.Sizeof(statesStateChange{})) {
			t.err = fmt.Errorf("report of %d octets is too short", len(record.RawSample))
			return
		}
		t.add((*statesStateChange)(unsafe.Pointer(&record.RawSample[0])))
	}
}

func (t *Trace) add(report *statesStateChange) {
	event := Event{
		AtNS:   int64(report.At),
		In:     t.namespace[report.Netns],
		Cookie: report.Cookie,
		Local:  netip.AddrPortFrom(netip.AddrFrom16(report.Local).Unmap(), report.LocalPort),
		Remote: netip.AddrPortFrom(netip.AddrFrom16(report.Remote).Unmap(), report.RemotePort),
		Old:    SocketState(report.OldState),
		New:    SocketState(report.NewState),
	}
	once := change{event.Cookie, event.Old, event.New}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.told[once] {
		t.told[once] = true
		t.events = append(t.events, event)
	}
}
