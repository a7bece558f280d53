package query

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// MaxGroupFields is how many fields can be grouped by at once.
const MaxGroupFields = 2

// GroupFields lists what can be grouped by.
func GroupFields() []string {
	list := make([]string, len(groupFields))
	for i := range groupFields {
		list[i] = groupFields[i].name
	}
	return list
}

// Networks are the lengths of the prefixes that addresses are grouped by.
type Networks struct{ IPv4, IPv6 int }

// Grouping deals connections out to groups, which have numbers from 0. It
// belongs to one question.
type Grouping struct {
	fields   []*groupField
	networks [2]prefix // masks of IPv4 and IPv6
	lengths  Networks

	ids     ids
	texts   texts             // of interfaces and owners
	owners  map[uint64]uint64 // places of owners in texts
	scratch [atOnce]groupID
}

// groupField is one field to group by.
type groupField struct {
	name string
	// fill writes what the field is in each row to place n of the ids.
	fill func(g *Grouping, f *frame, rows []uint16, ids []groupID, n int)
	set  func(g *Grouping, key *api.GroupKey, id [2]uint64)
}

var groupFields = []groupField{
	{"server", addressField(serverSide, false), func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.Server = new(whole(id).String()) }},
	{"server_port", numberField(func(b *history.Block) *[history.Rows]uint16 { return &b.Server.Port }),
		func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.ServerPort = new(uint16(id[1])) }},
	{"server_network", addressField(serverSide, true), func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.ServerNetwork = new(g.prefix(id).String()) }},
	{"client", addressField(clientSide, false), func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.Client = new(whole(id).String()) }},
	{"client_network", addressField(clientSide, true), func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.ClientNetwork = new(g.prefix(id).String()) }},
	{"close_kind", numberField(func(b *history.Block) *[history.Rows]flowtable.CloseKind { return &b.CloseKind }),
		func(_ *Grouping, k *api.GroupKey, id [2]uint64) {
			k.CloseKind = new(flowtable.CloseKind(id[1]).String())
		}},
	{"close_initiator", numberField(func(b *history.Block) *[history.Rows]flowtable.Party { return &b.Initiator }),
		func(_ *Grouping, k *api.GroupKey, id [2]uint64) {
			k.CloseInitiator = new(flowtable.Party(id[1]).String())
		}},
	{"interface", (*Grouping).fillInterfaces, func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.Interface = &g.texts.list[id[1]] }},
	{"vlan", numberField(func(b *history.Block) *[history.Rows]uint16 { return &b.VLAN }),
		func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.VLAN = new(uint16(id[1])) }},
	{"server_process", ownerField(serverSide), func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.ServerProcess = &g.texts.list[id[1]] }},
	{"client_process", ownerField(clientSide), func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.ClientProcess = &g.texts.list[id[1]] }},
}

type fill = func(g *Grouping, f *frame, rows []uint16, ids []groupID, n int)

func numberField[T ~uint8 | ~uint16](column func(*history.Block) *[history.Rows]T) fill {
	return func(_ *Grouping, f *frame, rows []uint16, ids []groupID, n int) {
		values := column(f.block)
		for k, row := range rows {
			ids[k][n] = [2]uint64{0, uint64(values[row])}
		}
	}
}

// addressField is an address, or its network.
func addressField(of sides, network bool) fill {
	return func(g *Grouping, f *frame, rows []uint16, ids []groupID, n int) {
		addresses := &f.block.Server.Address
		if of == clientSide {
			addresses = &f.block.Client.Address
		}
		fillAddresses(addresses, rows, ids, n)
		if network {
			g.mask(ids, n)
		}
	}
}

// fillAddresses stands alone: in a variable's function nothing is inlined.
func fillAddresses(addresses *[history.Rows][16]byte, rows []uint16, ids []groupID, n int) {
	ids = ids[:len(rows)]
	for k, row := range rows {
		a := &addresses[row]
		ids[k][n] = [2]uint64{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
	}
}

// mask makes networks of addresses.
func (g *Grouping) mask(ids []groupID, n int) {
	for k := range ids {
		id := &ids[k][n]
		mask := &g.networks[1]
		if id[0] == 0 && id[1]>>32<<32 == mappedMark {
			mask = &g.networks[0]
		}
		id[0], id[1] = id[0]&mask.highMask, id[1]&mask.lowMask
	}
}

// fillInterfaces numbers interfaces by their names.
func (g *Grouping) fillInterfaces(f *frame, rows []uint16, ids []groupID, n int) {
	known, number, at := false, uint32(0), uint64(0) // of the row before: there are few
	for k, row := range rows {
		if i := f.block.Interface[row]; !known || i != number {
			known, number, at = true, i, g.texts.place(f.names.Interface(i))
		}
		ids[k][n] = [2]uint64{0, at}
	}
}

// NewGrouping groups by fields of GroupFields; all in one group without any.
func NewGrouping(fields []string, lengths Networks) (*Grouping, error) {
	g := &Grouping{lengths: lengths, ids: newIDs()}
	if len(fields) > MaxGroupFields {
		return nil, fmt.Errorf("%d fields; give at most %d", len(fields), MaxGroupFields)
	}
	for i, name := range fields {
		at := slices.IndexFunc(groupFields, func(f groupField) bool { return f.name == name })
		switch {
		case at < 0:
			return nil, &valueError{name, fmt.Errorf("not a field; %w", oneOf(GroupFields()))}
		case slices.Contains(fields[:i], name):
			return nil, &valueError{name, errors.New("given more than once")}
		}
		g.fields = append(g.fields, &groupFields[at])
	}
	if lengths.IPv4 < 0 || lengths.IPv4 > 32 || lengths.IPv6 < 0 || lengths.IPv6 > 128 {
		return nil, fmt.Errorf("prefix lengths %d and %d: choose up to 32 and 128", lengths.IPv4, lengths.IPv6)
	}
	g.networks[0] = newPrefix(netip.PrefixFrom(netip.IPv4Unspecified(), lengths.IPv4))
	g.networks[1] = newPrefix(netip.PrefixFrom(netip.IPv6Unspecified(), lengths.IPv6))
	return g, nil
}

// deal writes the group of each row to groups.
func (g *Grouping) deal(f *frame, rows []uint16, groups []uint32) {
	for len(rows) > 0 {
		n := min(len(rows), len(g.scratch))
		g.dealSome(f, rows[:n], groups)
		rows, groups = rows[n:], groups[n:]
	}
}

func (g *Grouping) dealSome(f *frame, rows []uint16, groups []uint32) {
	ids := g.scratch[:len(rows)]
	for n, field := range g.fields {
		field.fill(g, f, rows, ids, n)
	}
	g.ids.number(ids, groups[:len(ids)])
}

// groups is how many there are.
func (g *Grouping) groups() int { return len(g.ids.list) }

// key is what a group's connections have in common.
func (g *Grouping) key(number uint32) (key api.GroupKey) {
	for n, field := range g.fields {
		field.set(g, &key, g.ids.list[number][n])
	}
	return key
}

// names are those of the fields, in the order in which they were asked for.
func (g *Grouping) names() []string {
	list := make([]string, len(g.fields))
	for i := range g.fields {
		list[i] = g.fields[i].name
	}
	return list
}

// compare orders groups by their keys.
func (g *Grouping) compare(a, b uint32) int {
	for n, field := range g.fields {
		x, y := g.ids.list[a][n], g.ids.list[b][n]
		if slices.Contains(textFields, field.name) {
			if c := strings.Compare(g.texts.list[x[1]], g.texts.list[y[1]]); c != 0 {
				return c
			}
		} else if c := slices.Compare(x[:], y[:]); c != 0 {
			return c
		}
	}
	return 0
}

// prefix is the network of an id. An IPv6 network may look like an IPv4-mapped
// address only where it is one.
func (g *Grouping) prefix(id [2]uint64) netip.Prefix {
	a := whole(id)
	if a.Is4() {
		return netip.PrefixFrom(a, g.lengths.IPv4)
	}
	return netip.PrefixFrom(a, g.lengths.IPv6)
}

func whole(id [2]uint64) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], id[0])
	binary.BigEndian.PutUint64(a[8:], id[1])
	return api.Address(&a)
}
