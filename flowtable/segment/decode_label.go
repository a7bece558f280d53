package segment

import "encoding/binary"

// Ether types (IEEE registry; <linux/if_ether.h>).
const (
	etherTypeNone     = 0
	etherTypeIPv4     = 0x0800
	etherTypeEthernet = 0x6558 // a whole frame, behind GRE and GENEVE
	etherTypeVLAN     = 0x8100 // IEEE 802.1Q
	etherTypeIPv6     = 0x86dd
	etherTypeMPLS     = 0x8847 // RFC 5332 section 3
	etherTypeMPLS48   = 0x8848 // labels of upstream
	etherTypePPPoE    = 0x8864 // session stage (RFC 2516)
	etherTypeQinQ     = 0x88a8 // IEEE 802.1ad
	etherTypeVLAN91   = 0x9100 // stacked tags before 802.1ad
)

const (
	vlanTag       = 4
	vlanTagsMax   = 4
	vlanIDMask    = 0x0fff
	pppoeHeader   = 8 // with the PPP protocol behind it
	mplsLabel     = 4 // RFC 3032 section 2.1
	mplsLabelsMax = 8
)

// stripLabels removes what stands between an Ethernet header and IP: VLAN
// tags, then a PPPoE session's header or MPLS labels.
func (w *walk) stripLabels() Outcome {
	if isTag(w.etherType) {
		if outcome := w.stripTags(); outcome != TCP {
			return outcome
		}
	}
	switch w.etherType {
	case etherTypePPPoE:
		return w.stripPPPoE()
	case etherTypeMPLS, etherTypeMPLS48:
		return w.stripMPLS()
	}
	return TCP
}

// stripTags removes up to four VLAN tags; the ether type of a fifth is left
// like any other that is not IP.
func (w *walk) stripTags() Outcome {
	if w.encapsulation.full() {
		return w.unknown()
	}
	outer := w.encapsulation
	w.encapsulation.add(LayerVLAN, 0)
	for tags := 0; isTag(w.etherType) && tags < vlanTagsMax; tags++ {
		if len(w.rest) < vlanTag {
			return Undecodable
		}
		switch {
		case tags == 1:
			w.encapsulation = outer
			w.encapsulation.add(LayerQinQ, 0)
		case tags == 0 && w.tunnels == 0:
			w.vlan = binary.BigEndian.Uint16(w.rest) & vlanIDMask
		}
		w.etherType, w.rest = binary.BigEndian.Uint16(w.rest[2:]), w.rest[vlanTag:]
	}
	return TCP
}

func isTag(etherType uint16) bool {
	return etherType == etherTypeVLAN || etherType == etherTypeQinQ || etherType == etherTypeVLAN91
}

// stripPPPoE removes the header of a session's packet (RFC 2516 section 4):
// version and type 1, code 0, and a PPP protocol of two octets.
func (w *walk) stripPPPoE() Outcome {
	if w.encapsulation.full() {
		return w.unknown()
	}
	w.encapsulation.add(LayerPPPoE, 0)
	if len(w.rest) < pppoeHeader {
		return Undecodable
	}
	if w.rest[0] != 0x11 || w.rest[1] != 0 {
		return w.unknown()
	}
	w.etherType, w.rest = etherTypeOfPPP(binary.BigEndian.Uint16(w.rest[6:])), w.rest[pppoeHeader:]
	return TCP
}

// stripMPLS removes labels down to the bottom of the stack (RFC 3032 section
// 2.1). Nothing names the protocol behind it: the first nibble tells IPv4 and
// IPv6 from a pseudowire's control word (RFC 4928 section 3).
func (w *walk) stripMPLS() Outcome {
	if w.encapsulation.full() {
		return w.unknown()
	}
	w.encapsulation.add(LayerMPLS, 0)
	for range mplsLabelsMax {
		if len(w.rest) < mplsLabel {
			return Undecodable
		}
		bottom := w.rest[2]&1 != 0
		w.rest = w.rest[mplsLabel:]
		if bottom {
			return w.tellVersion()
		}
	}
	return w.unknown()
}

// tellVersion finds out which IP follows where only its version says so.
func (w *walk) tellVersion() Outcome {
	etherType, _, ok := stripNothing(w.rest)
	if !ok {
		return Undecodable
	}
	w.etherType = etherType
	return TCP
}
