package api

// GroupKey is what a group's connections have in common; only what was asked
// to group by is there.
type GroupKey struct {
	Server         *string `json:"server,omitempty"`
	ServerPort     *uint16 `json:"server_port,omitempty"`
	ServerNetwork  *string `json:"server_network,omitempty" doc:"CIDR prefix, its length by ipv4_prefix or ipv6_prefix"`
	Client         *string `json:"client,omitempty"`
	ClientNetwork  *string `json:"client_network,omitempty" doc:"CIDR prefix, its length by ipv4_prefix or ipv6_prefix"`
	CloseKind      *string `json:"close_kind,omitempty"`
	CloseInitiator *string `json:"close_initiator,omitempty" doc:"Empty where nobody closed"`
	Interface      *string `json:"interface,omitempty"`
	VLAN           *uint16 `json:"vlan,omitempty"`
	ServerProcess  *string `json:"server_process,omitempty" doc:"Control group of the server's socket; empty where that is not known"`
	ClientProcess  *string `json:"client_process,omitempty" doc:"Control group of the client's socket; empty where that is not known"`
}

// Teardown is how long connections took to close, by group.
type Teardown struct {
	GroupBy     []string        `json:"group_by" nullable:"false"`
	Count       uint64          `json:"count" doc:"Connections considered: those of all groups, also of groups not shown"`
	GroupsTotal int             `json:"groups_total" doc:"Groups there are, also those beyond the limit"`
	Groups      []TeardownGroup `json:"groups" nullable:"false" doc:"In the order asked for; the largest first without one"`
	History     HistorySpan     `json:"history"`
}

// TeardownGroup is one group. Slices of connections that went on are left out:
// the record that ends a connection has its closing in full.
type TeardownGroup struct {
	Key   GroupKey `json:"key"`
	Count uint64   `json:"count" doc:"Connections"`
	PhasesStats
}

// PhasesStats are the percentiles of every phase.
type PhasesStats struct {
	FINWait1  PhaseStats `json:"fin_wait_1" doc:"FIN1 to ACK1: network and the other host's kernel"`
	CloseWait PhaseStats `json:"close_wait" doc:"ACK1 to FIN2: the other side's application"`
	LastACK   PhaseStats `json:"last_ack" doc:"FIN2 to ACK2: network and the initiator's kernel"`
	Teardown  PhaseStats `json:"teardown" doc:"FIN1 to ACK2, or to a RST after FIN1"`
}

// PhaseStats are the percentiles of one phase, by the nearest rank. Of a group of
// up to 512 connections they are exact below 134 ms, and less than 2 parts in 10^8
// too short above; of a larger one they are off by at most 1/128, but for the
// maximum.
type PhaseStats struct {
	Count uint64 `json:"count" doc:"Connections of which this phase is known"`
	P50NS *int64 `json:"p50_ns" doc:"In groups of more than 512 connections at most 1/128 off"`
	P90NS *int64 `json:"p90_ns" doc:"In groups of more than 512 connections at most 1/128 off"`
	P99NS *int64 `json:"p99_ns" doc:"In groups of more than 512 connections at most 1/128 off"`
	MaxNS *int64 `json:"max_ns"`
}

// Top is who has most of something.
type Top struct {
	By          string      `json:"by"`
	Unit        string      `json:"unit" enum:"octets,packets,connections,segments,ns" doc:"Of value and total"`
	GroupBy     []string    `json:"group_by" nullable:"false"`
	Total       uint64      `json:"total" doc:"Sum over all groups, also of groups not shown"`
	Connections uint64      `json:"connections" doc:"Connections considered"`
	GroupsTotal int         `json:"groups_total" doc:"Groups there are, also those beyond the limit"`
	Groups      []TopGroup  `json:"groups" nullable:"false" doc:"Largest first"`
	History     HistorySpan `json:"history"`
}

// TopGroup is one group.
type TopGroup struct {
	Key         GroupKey `json:"key"`
	Value       uint64   `json:"value"`
	Share       float64  `json:"share" minimum:"0" maximum:"1" doc:"Of the total; 0 where that is 0"`
	Connections uint64   `json:"connections" doc:"Connections in the group"`
}
