package generator

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/netns"
)

// The interfaces of a Wire, each in a namespace of its own.
const (
	TransmitInterface = "transmit0"
	ReceiveInterface  = "receive0"
)

// Wire is a veth pair between two namespaces that nobody else can reach, and on
// which nobody else speaks. It vanishes with the process.
type Wire struct {
	transmit, receive *os.File
}

// NewWire makes one. It needs root.
func NewWire() (*Wire, error) {
	w := &Wire{}
	if err := w.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("join two namespaces by a veth pair: %w", err), w.Close())
	}
	return w, nil
}

func (w *Wire) build() (err error) {
	if w.transmit, err = netns.New(); err != nil {
		return err
	}
	if w.receive, err = netns.New(); err != nil {
		return err
	}
	for _, ns := range []*os.File{w.transmit, w.receive} {
		err := netns.Do(ns, func() error { return netns.Sysctl(map[string]string{"ipv6/conf/default/disable_ipv6": "1"}) })
		if err != nil {
			return err
		}
	}
	err = netns.Do(w.transmit, func() error {
		pair := netlink.NewVeth(netlink.NewLinkAttrs())
		pair.Name, pair.PeerName = TransmitInterface, ReceiveInterface
		pair.NumTxQueues, pair.NumRxQueues, pair.PeerNumTxQueues, pair.PeerNumRxQueues = 1, 1, 1, 1
		pair.MTU = MaxFrame
		pair.PeerNamespace = netlink.NsFd(w.receive.Fd())
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		return up(TransmitInterface)
	})
	if err != nil {
		return err
	}
	return netns.Do(w.receive, func() error {
		if err := up("lo"); err != nil { // for what runs there and talks to itself
			return err
		}
		return up(ReceiveInterface)
	})
}

func up(name string) error {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("look up interface %q: %w", name, err)
	}
	if err := netlink.LinkSetUp(device); err != nil {
		return fmt.Errorf("bring up interface %q: %w", name, err)
	}
	return nil
}

// AtTransmitter runs fn with the calling thread where TransmitInterface is.
func (w *Wire) AtTransmitter(fn func() error) error { return netns.Do(w.transmit, fn) }

// AtReceiver runs fn with the calling thread where ReceiveInterface is.
func (w *Wire) AtReceiver(fn func() error) error { return netns.Do(w.receive, fn) }

// Close removes the pair.
func (w *Wire) Close() error {
	var errs []error
	if w.transmit != nil {
		errs = append(errs, netns.Do(w.transmit, func() error {
			device, err := netlink.LinkByName(TransmitInterface)
			if err != nil {
				return nil // it was not made, or went with its other end
			}
			if err := netlink.LinkDel(device); err != nil && !errors.Is(err, unix.ENODEV) {
				return fmt.Errorf("remove interface %q: %w", TransmitInterface, err)
			}
			return nil
		}), w.transmit.Close())
		w.transmit = nil
	}
	if w.receive != nil {
		errs = append(errs, w.receive.Close())
		w.receive = nil
	}
	return errors.Join(errs...)
}
