package segment

// Outcome is what became of one frame on its way to a Segment. The kernel
// program and Decode give the same one for the same octets.
type Outcome uint8

// Every frame ends in exactly one of these.
const (
	// TCP: the Segment is filled.
	TCP Outcome = iota
	// NotIP: neither IPv4 nor IPv6 behind at most four VLAN tags and a PPPoE
	// session.
	NotIP
	// NotTCP: IP with another protocol.
	NotTCP
	// Fragment: TCP, but a fragment other than the first; it has no ports.
	Fragment
	// Undecodable: the frame ends, or its lengths say that it ends, before
	// its TCP header does, or a header contradicts itself.
	Undecodable

	Outcomes = 5
)

func (o Outcome) String() string {
	return [...]string{"tcp", "not_ip", "not_tcp", "fragment", "undecodable"}[o]
}
