package lab

import (
	"net/netip"
	"slices"
)

// Party is one of the two ends of a connection, spelt as in the flow record.
type Party string

// The parties. Nobody is the absence of one.
const (
	Nobody      Party = ""
	ClientParty Party = "client"
	ServerParty Party = "server"
)

// other is the opposite end.
func (p Party) other() Party {
	if p == ClientParty {
		return ServerParty
	}
	return ClientParty
}

// The close kinds that plays end in, spelt as in the flow record.
const (
	kindRefused      = "refused"
	kindReset        = "reset"
	kindSimultaneous = "simultaneous"
	kindThreeWay     = "three_way"
	kindFourWay      = "four_way"
	kindUnanswered   = "unanswered"
)

// Tuple is a connection's addresses and ports, with direction.
type Tuple struct {
	ClientIP   netip.Addr `json:"client_ip"`
	ClientPort uint16     `json:"client_port"`
	ServerIP   netip.Addr `json:"server_ip"`
	ServerPort uint16     `json:"server_port"`
}

func (t Tuple) String() string {
	return netip.AddrPortFrom(t.ClientIP, t.ClientPort).String() + " > " +
		netip.AddrPortFrom(t.ServerIP, t.ServerPort).String()
}

// Counts are the numbers that Expectation and Flow have in common, named as in
// the flow record. A nil pointer stands for what is not known.
type Counts struct {
	ClientPayload       *uint64 `json:"client_payload_bytes"` // octets
	ServerPayload       *uint64 `json:"server_payload_bytes"`
	HalfClosePayload    *uint64 `json:"half_close_payload_bytes"`
	ClientPackets       *uint64 `json:"client_packets"`
	ServerPackets       *uint64 `json:"server_packets"`
	ClientOctets        *uint64 `json:"client_bytes"` // IP header and payload
	ServerOctets        *uint64 `json:"server_bytes"`
	ClientFINRepeats    *uint64 `json:"client_fin_retransmits"`
	ServerFINRepeats    *uint64 `json:"server_fin_retransmits"`
	ClientSYNRepeats    *uint64 `json:"client_syn_retransmits"`
	ServerSYNACKRepeats *uint64 `json:"server_syn_ack_retransmits"`
}

// Expectation is what the two ends of one connection know of it. Its names
// are those of the flow record where it has them. A count that the ends do not
// know is not compared.
type Expectation struct {
	Scenario string `json:"scenario"`
	Tuple
	Outside    Tuple    `json:"outside"`    // on the server's side, as NAT has it; all zero where it does not get there
	StartedNS  int64    `json:"started_ns"` // CLOCK_MONOTONIC, before the first SYN
	CloseKinds []string `json:"close_kinds"`
	Initiator  Party    `json:"close_initiator"`
	RSTBy      Party    `json:"rst_by"`
	Complete   bool     `json:"close_complete"`
	OrientedBy string   `json:"oriented_by"`
	Evidence   string   `json:"evidence"`
	Counts
	MinFIN1ToFIN2NS int64  `json:"min_fin1_to_fin2_ns"` // 0 for no bound
	Reuse           bool   `json:"reuse"`               // reuse_after_ns is present and below 2 MSL
	VLAN            uint16 `json:"vlan_id"`
	Encapsulation   string `json:"encapsulation"`
	Accounting      string `json:"accounting"` // empty stands for counted
	Interface       string `json:"interface"`  // of a gateway; empty stands for the tap's

	untold Party // who sent data last that no control segment tells of
	faces  Party // whose segments come in there
	pair   int   // the same for both sides' rows of a connection, 0 for none
}

// The ways of accounting, spelt as in the flow record.
const (
	accountingCounted  = "counted"
	accountingSequence = "sequence"
)

// BySequence is what is expected of the same connections where octets are
// known by sequence numbers alone: the same payload where control segments tell
// of it, and no packets and bytes.
func BySequence(expected []Expectation) []Expectation {
	expected = slices.Clone(expected)
	for i := range expected {
		e := &expected[i]
		e.Accounting = accountingSequence
		e.ClientPackets, e.ServerPackets, e.ClientOctets, e.ServerOctets = nil, nil, nil, nil
		switch e.untold {
		case ClientParty:
			e.ClientPayload, e.HalfClosePayload = nil, nil
		case ServerParty:
			e.ServerPayload, e.HalfClosePayload = nil, nil
		}
	}
	return expected
}

// attempt is a connection from the client's side, before its first SYN.
type attempt struct {
	Tuple
	outside   Tuple // the same on the server's side of a gateway
	startedNS int64 // CLOCK_MONOTONIC
}

func (s *stage) newAttempt(t Tuple) attempt {
	return attempt{Tuple: t, outside: s.outside(t), startedNS: monotonic()}
}

// expect begins the expectation of a connection that the tap sees whole, from
// its first SYN to its close.
func (a *attempt) expect(initiator Party, kinds ...string) Expectation {
	return Expectation{
		Tuple: a.Tuple, Outside: a.outside, StartedNS: a.startedNS, CloseKinds: kinds, Initiator: initiator,
		Complete: true, OrientedBy: "syn", Evidence: "full",
	}
}
