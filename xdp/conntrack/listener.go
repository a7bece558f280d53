// Package conntrack follows the kernel's connection tracking and knows how it
// translates TCP connections: which tuple one has on the other side of the box.
//
// # Terms
//
// The inner tuple of a translation is that of the packets as the first of them
// came into the box, the outer one is that of the packets as they leave it (in
// the kernel's terms: the original tuple, and the reply tuple reversed). A
// translation is over once the kernel has destroyed its entry, and still known
// after that, since records come later.
//
// # How it stays right
//
// The kernel reports new and destroyed entries (nfnetlink groups CONNTRACK_NEW
// and CONNTRACK_DESTROY). Reports that find the socket's buffer full are lost, which
// the kernel tells; then its table is read anew, as it is at the start, and what
// is not in it any more is over.
//
// # Ownership
//
// Open and Close are called once. Other and Stats may be called from any
// goroutine; Other does not allocate.
package conntrack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// Delay is well above the time that it takes until a translation is known.
const Delay = 500 * time.Millisecond

const (
	// receiveBuffer holds the reports of some 10,000 connections.
	receiveBuffer = 8 << 20
	// reportSize is more than any report has.
	reportSize = 16 << 10
	// A listener sleeps after it has taken what there was: being woken for every report
	// would cost the gateway more than the report. It sleeps the longer the fewer there
	// were, and less than half as long after more than manyReports. The receive buffer holds
	// what comes meanwhile, and a record asks a second later at the earliest.
	leastPause   = 5 * time.Millisecond
	longestPause = 50 * time.Millisecond
	manyReports  = 2000
	// quietPauses is after how many pauses in which nothing came it has the kernel wake it.
	quietPauses = 10
	// readAgain is the least time between two readings of the kernel's table.
	readAgain = 2 * time.Second
)

// Of linux/netfilter/nfnetlink.h: enum nfnetlink_groups, and the subsystem.
const (
	groupNew     = 1
	groupDestroy = 3
	subsystem    = 1
)

// Config is how a Listener is made.
type Config struct {
	// Room is how many translations can be known at once.
	Room int
	// ReceiveBuffer is the octets of reports that may wait; 0 means 8 MiB.
	ReceiveBuffer int
	// Report is told what goes wrong while it runs, from any goroutine; nil where
	// nobody wants to know.
	Report func(error)
}

// Stats counts what the kernel told. Anyone may read.
type Stats struct {
	Reports   atomic.Uint64 // of new and destroyed entries of TCP connections
	Overruns  atomic.Uint64 // times that reports found no room in the socket's buffer, and were lost
	Readings  atomic.Uint64 // of the kernel's whole table
	Forgotten atomic.Uint64 // translations that were not over and had to make room
	Known     atomic.Int64  // translations known now that are not over
}

// Listener knows the translations of one network namespace.
type Listener struct {
	config   Config
	known    *translations
	events   int // descriptor of the socket that the reports come to
	woken    int // descriptor that can be read once it is to be closed (eventfd(2))
	table    *table
	warnings []string
	stats    Stats

	stale   chan struct{} // the kernel's table is to be read again
	closing chan struct{}
	running sync.WaitGroup
}

// Open begins to follow the network namespace of the calling thread. It needs
// CAP_NET_ADMIN. An error that is ErrNotThere says that the kernel tracks no
// connections.
func Open(c Config) (*Listener, error) {
	if c.ReceiveBuffer == 0 {
		c.ReceiveBuffer = receiveBuffer
	}
	if c.Report == nil {
		c.Report = func(error) {}
	}
	l := &Listener{config: c, events: -1, woken: -1, stale: make(chan struct{}, 1), closing: make(chan struct{})}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("follow connection tracking: %w", errors.Join(err, l.closeSockets()))
	}
	l.stale <- struct{}{}
	l.running.Go(l.listen)
	l.running.Go(l.read)
	return l, nil
}

// ErrNotThere says that the kernel has no connection tracking, or does not tell of it.
var ErrNotThere = errors.New("the kernel does not track connections (nf_conntrack, nf_conntrack_netlink)")

func (l *Listener) open() (err error) {
	if l.known, err = newTranslations(l.config.Room, &l.stats); err != nil {
		return err
	}
	if l.table, err = openTable(); err != nil {
		return err
	}
	if err := l.checkEvents(); err != nil {
		return err
	}
	if l.woken, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("make an eventfd: %w", err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	l.events = fd
	if err := attachFilter(fd); err != nil {
		return err
	}
	// Without CAP_NET_ADMIN in the first namespace the buffer stays smaller.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, l.config.ReceiveBuffer); err != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, l.config.ReceiveBuffer); err != nil {
			return fmt.Errorf("receive buffer of %d octets: %w", l.config.ReceiveBuffer, err)
		}
	}
	groups := uint32(1<<(groupNew-1) | 1<<(groupDestroy-1))
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("subscribe to its events (needs CAP_NET_ADMIN): %w", err)
	}
	return nil
}

// checkEvents looks whether the kernel reports anything.
func (l *Listener) checkEvents() error {
	const path = "/proc/sys/net/netfilter/nf_conntrack_events"
	value, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: no %s", ErrNotThere, path)
	}
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(value)) == "0" {
		l.warnings = append(l.warnings, "connection tracking reports nothing: only connections that are there at the start are known; set net.netfilter.nf_conntrack_events to 1")
	}
	return nil
}

// Warnings are what an operator should know about what was found.
func (l *Listener) Warnings() []string { return l.warnings }

// Stats are the listener's counters.
func (l *Listener) Stats() *Stats { return &l.stats }

// Other returns a connection's tuple on the other side of the box; false where it
// is not known to be translated. Client and server may be exchanged in both.
func (l *Listener) Other(t segment.Tuple) (segment.Tuple, bool) { return l.known.other(t) }

// Close ends it.
func (l *Listener) Close() error {
	close(l.closing)
	l.table.close()                             // ends a reading that is under way
	_, err := unix.Write(l.woken, []byte{7: 1}) // not 0 in either order of octets
	l.running.Wait()
	return errors.Join(err, l.closeSockets())
}

func (l *Listener) closeSockets() error {
	if l.table != nil {
		l.table.close()
	}
	var errs []error
	for _, fd := range []int{l.events, l.woken} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// listen takes the kernel's reports until Close.
func (l *Listener) listen() {
	buffer := make([]byte, reportSize)
	pause, quiet := leastPause, 0
	for {
		before := l.stats.Reports.Load()
		some, err := l.drain(buffer)
		if err != nil {
			l.config.Report(fmt.Errorf("connection tracking's events: %w", err))
			return
		}
		quiet++
		if some {
			quiet = 0
		}
		if l.stats.Reports.Load()-before > manyReports {
			pause = max(pause/2, leastPause)
		} else {
			pause = min(2*pause, longestPause)
		}
		if quiet > quietPauses {
			l.await()
		}
		select {
		case <-l.closing:
			return
		case <-time.After(pause):
		}
	}
}

// await returns when there are reports, or Close wants it to.
func (l *Listener) await() {
	on := []unix.PollFd{{Fd: int32(l.events), Events: unix.POLLIN}, {Fd: int32(l.woken), Events: unix.POLLIN}}
	_, _ = unix.Poll(on, -1) // interrupted, it is only early
}

// drain takes the reports that are there.
func (l *Listener) drain(buffer []byte) (some bool, err error) {
	for {
		n, err := unix.Read(l.events, buffer)
		switch {
		case err == nil:
			l.follow(buffer[:n])
		case errors.Is(err, unix.ENOBUFS):
			l.stats.Overruns.Add(1)
			l.reread()
		case errors.Is(err, unix.EAGAIN):
			return some, nil
		case !errors.Is(err, unix.EINTR):
			return some, err
		}
		some = true
	}
}

// follow takes the reports of one datagram.
func (l *Listener) follow(datagram []byte) {
	for len(datagram) >= unix.NLMSG_HDRLEN {
		length := int(order.Uint32(datagram))
		kind := order.Uint16(datagram[4:])
		if length < unix.NLMSG_HDRLEN || length > len(datagram) {
			return
		}
		if kind>>8 == subsystem {
			l.stats.Reports.Add(1)
			l.known.follow(kind&0xff, datagram[unix.NLMSG_HDRLEN:length])
		}
		datagram = datagram[min((length+3)&^3, len(datagram)):]
	}
}

// reread has the kernel's table read again.
func (l *Listener) reread() {
	select {
	case l.stale <- struct{}{}:
	default: // it will be
	}
}

// read reads the kernel's table where it is asked to.
func (l *Listener) read() {
	for {
		select {
		case <-l.closing:
			return
		case <-l.stale:
		}
		l.readTable()
		select {
		case <-l.closing:
			return
		case <-time.After(readAgain):
		}
	}
}

func (l *Listener) readTable() {
	reading := l.known.beginReading()
	whole, err := l.table.each(l.known.found)
	select {
	case <-l.closing:
		return
	default:
	}
	switch {
	case errors.Is(err, syscall.EINTR), err == nil && !whole:
		l.reread() // it changed meanwhile, and something may have been left out
	case err != nil:
		l.config.Report(fmt.Errorf("read the table of connection tracking: %w", err))
		return
	default:
		l.known.endReading(reading)
	}
	l.stats.Readings.Add(1)
}
