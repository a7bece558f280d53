package server

import (
	"cmp"
	"slices"
	"strings"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// TeardownQuery is what may be asked of teardowns.
type TeardownQuery struct {
	RecordsQuery
	GroupBy []string `query:"group_by" enum:"server,server_port,client,close_kind,close_initiator,interface,vlan" maxItems:"2" uniqueItems:"true" doc:"At most two, separated by commas or repeated; all in one group without it. limit then bounds the groups"`
}

// Teardown is how long connections took to close, by group.
type Teardown struct {
	GroupBy     []string        `json:"group_by" nullable:"false"`
	Count       uint64          `json:"count" doc:"Connections considered: those of all groups, also of groups not shown"`
	GroupsTotal int             `json:"groups_total" doc:"Groups there are, also those beyond the limit"`
	Groups      []TeardownGroup `json:"groups" nullable:"false" doc:"Largest first"`
}

// TeardownGroup is one group. Slices of connections that went on are left out:
// the record that ends a connection has its closing in full.
type TeardownGroup struct {
	Key      GroupKey   `json:"key"`
	Count    uint64     `json:"count" doc:"Connections"`
	FINWait1 PhaseStats `json:"fin_wait_1" doc:"FIN1 to ACK1"`
	Close    PhaseStats `json:"close_wait" doc:"ACK1 to FIN2"`
	LastACK  PhaseStats `json:"last_ack" doc:"FIN2 to ACK2"`
	Teardown PhaseStats `json:"teardown" doc:"FIN1 to ACK2, or to a RST after FIN1"`
}

// GroupKey is what a group's connections have in common; only what was asked
// to group by is there.
type GroupKey struct {
	Server         *string `json:"server,omitempty"`
	ServerPort     *uint16 `json:"server_port,omitempty"`
	Client         *string `json:"client,omitempty"`
	CloseKind      *string `json:"close_kind,omitempty"`
	CloseInitiator *string `json:"close_initiator,omitempty"`
	Interface      *string `json:"interface,omitempty"`
	VLAN           *uint16 `json:"vlan,omitempty"`
}

// PhaseStats are the exact percentiles of one phase, by the nearest rank.
type PhaseStats struct {
	Count uint64 `json:"count" doc:"Connections of which this phase is known"`
	P50NS *int64 `json:"p50_ns"`
	P90NS *int64 `json:"p90_ns"`
	P99NS *int64 `json:"p99_ns"`
	MaxNS *int64 `json:"max_ns"`
}

// grouping is the set of fields to group by.
type grouping struct{ server, serverPort, client, closeKind, initiator, iface, vlan bool }

func newGrouping(names []string) grouping {
	has := func(name string) bool { return slices.Contains(names, name) }
	return grouping{has("server"), has("server_port"), has("client"), has("close_kind"),
		has("close_initiator"), has("interface"), has("vlan")}
}

// groupID tells groups apart; fields that are not grouped by stay zero.
type groupID struct {
	server, client [16]byte
	iface          string
	serverPort     uint16
	vlan           uint16
	closeKind      flowtable.CloseKind
	initiator      flowtable.Party
}

func (g *grouping) id(r *flowtable.Record, n *api.Names) groupID {
	var id groupID
	if g.server {
		id.server = r.Server.Address
	}
	if g.serverPort {
		id.serverPort = r.Server.Port
	}
	if g.client {
		id.client = r.Client.Address
	}
	if g.closeKind {
		id.closeKind = r.CloseKind
	}
	if g.initiator {
		id.initiator = r.Initiator
	}
	if g.iface {
		id.iface = n.Interface(r.Interface)
	}
	if g.vlan {
		id.vlan = r.VLAN
	}
	return id
}

func (g *grouping) key(id *groupID) GroupKey {
	return GroupKey{
		Server:         known(api.Address(&id.server).String(), g.server),
		ServerPort:     known(id.serverPort, g.serverPort),
		Client:         known(api.Address(&id.client).String(), g.client),
		CloseKind:      known(id.closeKind.String(), g.closeKind),
		CloseInitiator: known(id.initiator.String(), g.initiator),
		Interface:      known(id.iface, g.iface),
		VLAN:           known(id.vlan, g.vlan),
	}
}

// group collects the durations of each phase, in ns.
type group struct {
	id     groupID
	count  uint64
	phases [flowtable.Phases][]int64
}

// teardowns collects records by group. It keeps every duration, 8 octets each,
// and so is bounded by the history that feeds it.
type teardowns struct {
	by     grouping
	count  uint64
	groups map[groupID]*group
}

func newTeardowns(by []string) *teardowns {
	return &teardowns{by: newGrouping(by), groups: make(map[groupID]*group)}
}

func (t *teardowns) add(r *flowtable.Record, n *api.Names) {
	id := t.by.id(r, n)
	g := t.groups[id]
	if g == nil {
		g = &group{id: id}
		t.groups[id] = g
	}
	g.count++
	t.count++
	for p := range g.phases {
		if ns, ok := r.Phase(flowtable.Phase(p)); ok {
			g.phases[p] = append(g.phases[p], ns)
		}
	}
}

// largest returns at most limit groups, the largest first, those of one size in
// the order of their keys, so that the same question has the same answer.
func (t *teardowns) largest(limit int) []TeardownGroup {
	groups := make([]*group, 0, len(t.groups))
	for _, g := range t.groups {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.count, a.count), compareIDs(&a.id, &b.id))
	})
	answer := make([]TeardownGroup, 0, min(limit, len(groups)))
	for _, g := range groups[:min(limit, len(groups))] {
		answer = append(answer, TeardownGroup{
			Key:      t.by.key(&g.id),
			Count:    g.count,
			FINWait1: newPhaseStats(g.phases[flowtable.FINWait1]),
			Close:    newPhaseStats(g.phases[flowtable.CloseWait]),
			LastACK:  newPhaseStats(g.phases[flowtable.LastACK]),
			Teardown: newPhaseStats(g.phases[flowtable.Teardown]),
		})
	}
	return answer
}

func compareIDs(a, b *groupID) int {
	return cmp.Or(
		slices.Compare(a.server[:], b.server[:]),
		cmp.Compare(a.serverPort, b.serverPort),
		slices.Compare(a.client[:], b.client[:]),
		cmp.Compare(a.closeKind, b.closeKind),
		cmp.Compare(a.initiator, b.initiator),
		strings.Compare(a.iface, b.iface),
		cmp.Compare(a.vlan, b.vlan),
	)
}

// newPhaseStats sorts ns in place.
func newPhaseStats(ns []int64) PhaseStats {
	if len(ns) == 0 {
		return PhaseStats{}
	}
	slices.Sort(ns)
	return PhaseStats{
		Count: uint64(len(ns)),
		P50NS: nearestRank(ns, 50),
		P90NS: nearestRank(ns, 90),
		P99NS: nearestRank(ns, 99),
		MaxNS: nearestRank(ns, 100),
	}
}

// nearestRank is the smallest of the sorted values that at least percent of
// them do not exceed.
func nearestRank(sorted []int64, percent int) *int64 {
	ns := sorted[(len(sorted)*percent+99)/100-1]
	return &ns
}

func known[T any](v T, ok bool) *T {
	if !ok {
		return nil
	}
	return &v
}
