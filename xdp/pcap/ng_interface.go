package pcap

import "github.com/finwait/finwait/flowtable/segment"

// Options of an interface description block, by code.
const (
	optionEnd        = 0
	optionResolution = 9  // if_tsresol, 1 octet
	optionOffset     = 14 // if_tsoffset, 8 octets, signed seconds

	optionHead       = 4
	interfaceOptions = 16 // where they begin in the block
)

// describe takes in an interface description block.
func (n *ng) describe(b block) error {
	if err := n.whole(b, "interface description block"); err != nil {
		return err
	}
	if len(n.interfaces) == interfacesMax {
		return n.damage("more than %d interfaces in a section", interfacesMax)
	}
	body := n.stream.front()[:b.total-blockTrailer]
	link := uint32(n.order.uint16(body[8:]))
	described := ngInterface{
		link:      segment.LinkType(link),
		supported: supported(link),
		snaplen:   n.order.uint32(body[12:]),
		clock:     microseconds,
	}
	if err := n.options(body[interfaceOptions:], &described.clock); err != nil {
		return err
	}
	if described.supported {
		n.decoded = true
	} else if n.refused == nil {
		n.refused = &link
	}
	n.interfaces = append(n.interfaces, described)
	n.stream.advance(int(b.total))
	return nil
}

// options reads an interface's clock from its options.
func (n *ng) options(options []byte, c *clock) error {
	for len(options) >= optionHead {
		code, size := n.order.uint16(options), int(n.order.uint16(options[2:]))
		if code == optionEnd {
			return nil
		}
		padded := (size + 3) &^ 3
		options = options[optionHead:]
		if padded > len(options) {
			return n.damage("option %d of %d octets in an interface description that has %d left", code, size, len(options))
		}
		switch code {
		case optionResolution:
			if size != 1 {
				return n.damage("time stamp resolution (if_tsresol) of %d octets, not 1", size)
			}
			c.resolution(options[0])
		case optionOffset:
			if size != 8 {
				return n.damage("time stamp offset (if_tsoffset) of %d octets, not 8", size)
			}
			c.offset = int64(n.order.uint64(options))
		}
		options = options[padded:]
	}
	return nil
}
