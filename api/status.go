package api

import "time"

// Status is how the appliance is doing.
type Status struct {
	Version    string            `json:"version"`
	StartedAt  time.Time         `json:"started_at" doc:"When the process started"`
	Interfaces []InterfaceStatus `json:"interfaces" nullable:"false"`
	Workers    int               `json:"workers" doc:"Pinned workers, one per receive queue"`
	Accounting string            `json:"accounting" enum:"counted,sequence" doc:"Where octets are known from"`
	Table      TableStatus       `json:"table"`
	Totals     Totals            `json:"totals"`
	Recent     RecentStatus      `json:"recent" doc:"Records kept in memory"`
	Ledger     []LedgerEntry     `json:"ledger" nullable:"false" doc:"Everything that was counted or lost, each with a reason"`
}

// InterfaceStatus is one interface that is listened on.
type InterfaceStatus struct {
	Name   string `json:"name"`
	Driver string `json:"driver" doc:"Kernel driver; empty where there is none"`
	Mode   string `json:"mode" doc:"How the program is attached, such as native or generic"`
	Queues int    `json:"queues" doc:"Receive queues"`
}

// TableStatus is the load of the flow table.
type TableStatus struct {
	Connections  uint64 `json:"connections" doc:"Connections followed now"`
	Capacity     uint64 `json:"capacity" doc:"Connections that have room"`
	MemoryOctets uint64 `json:"memory_octets" doc:"Memory reserved"`
}

// Totals are sums since the start.
type Totals struct {
	Packets  uint64 `json:"packets" doc:"TCP segments counted"`
	Octets   uint64 `json:"octets" doc:"Octets of all frames that arrived"`
	Segments uint64 `json:"segments" doc:"Control segments handed to the workers"`
	Records  uint64 `json:"records" doc:"Records published"`
}

// RecentStatus is what the recent records take.
type RecentStatus struct {
	Records      uint64 `json:"records" doc:"Records kept now"`
	Capacity     uint64 `json:"capacity" doc:"Records that have room"`
	MemoryOctets uint64 `json:"memory_octets" doc:"Memory reserved"`
	FromAt       string `json:"from_at" format:"date-time" doc:"Every record published since then is kept"`
	Overwritten  uint64 `json:"overwritten" doc:"Records that made room for newer ones"`
}

// LedgerEntry is one counter of the ledger.
type LedgerEntry struct {
	Stage     string `json:"stage" doc:"Where it was counted, such as nic, program, socket, table or sink"`
	Interface string `json:"interface" doc:"Empty where it belongs to none"`
	Queue     *int   `json:"queue" doc:"Receive queue; null where it belongs to none"`
	Reason    string `json:"reason"`
	Count     uint64 `json:"count"`
	Loss      bool   `json:"loss" doc:"Something that should have been accounted for was not"`
}

// StatusAnswer is a Status and what follows from it at the time of the answer.
type StatusAnswer struct {
	Status
	UptimeNS int64  `json:"uptime_ns" doc:"Since the start"`
	Lost     uint64 `json:"lost" doc:"Sum of the ledger's entries that are losses"`
}

// NewStatusAnswer is the answer at a moment.
func NewStatusAnswer(s Status, now time.Time) StatusAnswer {
	b := StatusAnswer{Status: s, UptimeNS: int64(now.Sub(s.StartedAt))}
	b.StartedAt = s.StartedAt.UTC()
	if b.Interfaces == nil {
		b.Interfaces = []InterfaceStatus{}
	}
	if b.Ledger == nil {
		b.Ledger = []LedgerEntry{}
	}
	for i := range b.Ledger {
		if b.Ledger[i].Loss {
			b.Lost += b.Ledger[i].Count
		}
	}
	return b
}

// Health is the body of a healthy answer.
type Health struct {
	Status string `json:"status" enum:"ok"`
}
