package xdp

import (
	"io"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// elsewhere runs fn on a thread in another network namespace, a new one where
// ns is nil, and returns a descriptor of it.
func elsewhere(t *testing.T, ns *os.File, fn func() error) *os.File {
	t.Helper()
	type result struct {
		ns  *os.File
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends here
		var err error
		if ns == nil {
			err = unix.Unshare(unix.CLONE_NEWNET)
		} else {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil && ns == nil {
			ns, err = os.Open("/proc/thread-self/ns/net")
		}
		if err == nil {
			err = fn()
		}
		done <- result{ns, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.ns
}

// newHost makes a namespace with one interface, whose other end is a port of
// the bridge in the test's namespace.
func newHost(t *testing.T, bridge netlink.Link, name, address string) *os.File {
	t.Helper()
	ns := elsewhere(t, nil, func() error { return nil })
	t.Cleanup(func() { _ = ns.Close() })
	newPair(t, name, name+"-port", 1)
	port, err := netlink.LinkByName(name + "-port")
	if err != nil {
		t.Fatal(err)
	}
	host, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetMaster(port, bridge); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetNsFd(host, int(ns.Fd())); err != nil {
		t.Fatal(err)
	}
	elsewhere(t, ns, func() error {
		host, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		parsed, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(host, parsed); err != nil {
			return err
		}
		return netlink.LinkSetUp(host)
	})
	return ns
}

// TestTapRealTCP follows one connection of two kernels over a hub: a bridge
// that learns nothing, with the tap at a third port.
func TestTapRealTCP(t *testing.T) {
	newNamespace(t)
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "hub"
	ageing := uint32(0)
	hub := &netlink.Bridge{LinkAttrs: attributes, AgeingTime: &ageing}
	if err := netlink.LinkAdd(hub); err != nil {
		t.Fatal(err)
	}
	up(t, "hub")
	clients := newHost(t, hub, "client", "10.1.0.1/24")
	servers := newHost(t, hub, "server", "10.1.0.2/24")
	newPair(t, "near", "far", 1)
	far, err := netlink.LinkByName("far")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetMaster(far, hub); err != nil {
		t.Fatal(err)
	}
	tap := openTap(t, Config{Interfaces: []string{"near"}})

	const request, answer = 3000, 500000
	var listener net.Listener
	elsewhere(t, servers, func() (err error) {
		listener, err = net.Listen("tcp4", "10.1.0.2:443")
		return err
	})
	served := make(chan error, 1)
	go func() { served <- serve(listener, request, answer) }()
	elsewhere(t, clients, func() error { return ask("10.1.0.2:443", request, answer) })
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	checkRealTCP(t, tap, request, answer)
}

// serve takes one connection and closes after the client.
func serve(listener net.Listener, request, answer int) error {
	defer func() { _ = listener.Close() }()
	c, err := listener.Accept()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := io.ReadFull(c, make([]byte, request)); err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, answer)); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// ask closes first.
func ask(address string, request, answer int) error {
	c, err := net.Dial("tcp4", address)
	if err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, request)); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, make([]byte, answer)); err != nil {
		return err
	}
	return c.Close()
}

func checkRealTCP(t *testing.T, tap *Tap, request, answer uint64) {
	t.Helper()
	var flags []uint8
	var last segment.Segment
	// SYN, SYN-ACK, the ACK that opens, FIN, and then the other FIN and the
	// acknowledgements of both, of which one may ride on the FIN.
	for _, s := range append(gather(t, tap.Queues(), 6), gatherFor(t, tap.Queues(), 1, 20)...) {
		flags = append(flags, s.TCPFlags&(fin|syn|ack))
		last = s
	}
	if len(flags) < 6 || len(flags) > 7 {
		t.Fatalf("passed segments with flags %v", flags)
	}
	for i, want := range []uint8{syn, syn | ack, ack, fin | ack} {
		if flags[i] != want {
			t.Errorf("segment %d has flags %05b, want %05b", i, flags[i], want)
		}
	}
	if last.TCPFlags&(fin|syn|ack) != ack || last.DstPort != 443 {
		t.Errorf("the last is %+v", last)
	}
	if last.Own.Payload != request || last.Other.Payload != answer {
		t.Errorf("payload %d of %d, %d of %d", last.Own.Payload, request, last.Other.Payload, answer)
	}
	key, side := segment.KeyOf(&last)
	counters := make([]segment.Counters, 1)
	if err := tap.Accounts().Take([]segment.Key{key}, counters); err != nil {
		t.Fatal(err)
	}
	if counters[0][side] != last.Own || counters[0][side^1] != last.Other {
		t.Errorf("the entry is %+v", counters[0])
	}
	tap.checkLedger(t)
}
