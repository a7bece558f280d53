package main

import (
	"fmt"

	"github.com/finwait/finwait/xdp/lab"
)

// The octets that a link counts for each frame and a record does not.
const (
	ethernetHeader = 14
	vlanTag        = 4
)

// labInterface is what is on record of a gateway's interface, beside what its link
// has counted by itself.
type labInterface struct {
	Name    string `json:"name"`
	Packets uint64 `json:"packets"` // on record
	Octets  uint64 `json:"octets"`  // … with the headers of their frames
	// Frames and FrameOctets are the link's own.
	Frames      uint64 `json:"frames"`
	FrameOctets uint64 `json:"frame_octets"`
}

func (i labInterface) String() string {
	return fmt.Sprintf("%s: %d packets, %d octets with their headers on record; %d, %d by the kernel's own count",
		i.Name, i.Packets, i.Octets, i.Frames, i.FrameOctets)
}

// labCount sums up flows by interface.
type labCount func([]lab.Flow) ([]labInterface, error)

// watch begins to count at a gateway's interfaces; a tap has nothing to compare with.
func (o *labOptions) watch(network *lab.Network) (labCount, error) {
	if o.mode != modeGateway {
		return func([]lab.Flow) ([]labInterface, error) { return nil, nil }, nil
	}
	before := map[string]lab.Passed{}
	for _, name := range []string{lab.LANInterface, lab.WANInterface} {
		passed, err := network.Passed(name)
		if err != nil {
			return nil, err
		}
		before[name] = passed
	}
	return func(flows []lab.Flow) ([]labInterface, error) {
		var all []labInterface
		for _, name := range []string{lab.LANInterface, lab.WANInterface} {
			now, err := network.Passed(name)
			if err != nil {
				return nil, err
			}
			i := labInterface{Name: name, Frames: now.Frames - before[name].Frames, FrameOctets: now.Octets - before[name].Octets}
			for _, f := range flows {
				if f.Interface == name {
					i.add(&f)
				}
			}
			all = append(all, i)
		}
		return all, nil
	}, nil
}

func (i *labInterface) add(f *lab.Flow) {
	header := uint64(ethernetHeader)
	switch f.Encapsulation {
	case "vlan":
		header += vlanTag
	case "qinq":
		header += 2 * vlanTag
	}
	for _, n := range []*uint64{f.ClientPackets, f.ServerPackets} {
		if n != nil {
			i.Packets += *n
			i.Octets += *n * header
		}
	}
	for _, n := range []*uint64{f.ClientOctets, f.ServerOctets} {
		if n != nil {
			i.Octets += *n
		}
	}
}

// octetsAgree tells whether all that passed is on record.
func (r *labResult) octetsAgree() bool {
	for _, i := range r.Interfaces {
		if i.Packets != i.Frames || i.Octets != i.FrameOctets {
			return false
		}
	}
	return true
}
