package query

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
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

	ids    ids
	recent recent
	texts  texts             // of interfaces and owners
	owners map[uint64]uint64 // places of owners in texts

	numbers [MaxGroupFields][atOnce]uint32
	scratch [atOnce]groupID
}

// groupField is one field to group by.
type groupField struct {
	name string
	// number writes numbers of 32 bits that tell what the field is in each row: the
	// second half of an id, less its base. It is false in blocks where these do not
	// do.
	number func(g *Grouping, f *frame, rows []uint16, to *[atOnce]uint32) bool
	base   uint64
	// fill writes the ids where numbers do not do, each at place n.
	fill func(g *Grouping, f *frame, rows []uint16, ids []groupID, n int)
	set  func(g *Grouping, key *api.GroupKey, id [2]uint64)
}

var groupFields = []groupField{
	addressField("server", serverSide, false, func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.Server = new(whole(id).String()) }),
	{name: "server_port", number: numberField(func(b *history.Block) *[history.Rows]uint16 { return &b.Server.Port }),
		set: func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.ServerPort = new(uint16(id[1])) }},
	addressField("server_network", serverSide, true, func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.ServerNetwork = new(g.prefix(id).String()) }),
	addressField("client", clientSide, false, func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.Client = new(whole(id).String()) }),
	addressField("client_network", clientSide, true, func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.ClientNetwork = new(g.prefix(id).String()) }),
	{name: "close_kind", number: numberField(func(b *history.Block) *[history.Rows]flowtable.CloseKind { return &b.CloseKind }),
		set: func(_ *Grouping, k *api.GroupKey, id [2]uint64) {
			k.CloseKind = new(flowtable.CloseKind(id[1]).String())
		}},
	{name: "close_initiator", number: numberField(func(b *history.Block) *[history.Rows]flowtable.Party { return &b.Initiator }),
		set: func(_ *Grouping, k *api.GroupKey, id [2]uint64) {
			k.CloseInitiator = new(flowtable.Party(id[1]).String())
		}},
	{name: "interface", number: (*Grouping).numberInterfaces, set: func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.Interface = &g.texts.list[id[1]] }},
	{name: "vlan", number: numberField(func(b *history.Block) *[history.Rows]uint16 { return &b.VLAN }),
		set: func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.VLAN = new(uint16(id[1])) }},
	{name: "server_process", number: ownerField(serverSide), set: func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.ServerProcess = &g.texts.list[id[1]] }},
	{name: "client_process", number: ownerField(clientSide), set: func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.ClientProcess = &g.texts.list[id[1]] }},
}

type number = func(g *Grouping, f *frame, rows []uint16, to *[atOnce]uint32) bool

func numberField[T ~uint8 | ~uint16](column func(*history.Block) *[history.Rows]T) number {
	return func(_ *Grouping, f *frame, rows []uint16, to *[atOnce]uint32) bool {
		values := column(f.block)
		for k, row := range rows {
			to[k%atOnce] = uint32(values[row])
		}
		return true
	}
}

// addressField is an address, or its network: numbers do where all are of IPv4.
func addressField(name string, of sides, network bool, set func(*Grouping, *api.GroupKey, [2]uint64)) groupField {
	return groupField{name: name, base: mappedMark, set: set,
		number: func(g *Grouping, f *frame, rows []uint16, to *[atOnce]uint32) bool {
			addresses, allIPv4 := f.addresses(of)
			if !allIPv4 {
				return false
			}
			mask := ^uint32(0)
			if network {
				mask = uint32(g.networks[0].lowMask)
			}
			numberAddresses(&addresses.Last, mask, rows, to)
			return true
		},
		fill: func(g *Grouping, f *frame, rows []uint16, ids []groupID, n int) {
			addresses, _ := f.addresses(of)
			fillAddresses(addresses, rows, ids, n)
			if network {
				g.mask(ids, n)
			}
		}}
}

// numberAddresses stands alone: in a variable's function nothing is inlined.
func numberAddresses(addresses *[history.Rows]uint32, mask uint32, rows []uint16, to *[atOnce]uint32) {
	for k, row := range rows {
		to[k%atOnce] = addresses[row] & mask
	}
}

func fillAddresses(addresses *history.Addresses, rows []uint16, ids []groupID, n int) {
	ids = ids[:len(rows)]
	for k, row := range rows {
		ids[k][n][0], ids[k][n][1] = addresses.Halves(int(row))
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

// numberInterfaces numbers interfaces by their names.
func (g *Grouping) numberInterfaces(f *frame, rows []uint16, to *[atOnce]uint32) bool {
	known, number, at := false, uint32(0), uint32(0) // of the row before: there are few
	for k, row := range rows {
		if i := f.block.Interface[row]; !known || i != number {
			known, number, at = true, i, uint32(g.texts.place(f.names.Interface(i)))
		}
		to[k%atOnce] = at
	}
	return true
}

// NewGrouping groups by fields of GroupFields; all in one group without any.
func NewGrouping(fields []string, lengths Networks) (*Grouping, error) {
	g := &Grouping{lengths: lengths, ids: newIDs(), recent: newRecent()}
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
	var numbered [MaxGroupFields]bool
	all := true
	for n, field := range g.fields {
		numbered[n] = field.number(g, f, rows, &g.numbers[n])
		all = all && numbered[n]
	}
	if all {
		g.dealNumbers(groups[:len(rows)])
		return
	}
	ids := g.scratch[:len(rows)]
	for n, field := range g.fields {
		if !numbered[n] {
			field.fill(g, f, rows, ids, n)
			continue
		}
		for k := range ids {
			ids[k][n] = [2]uint64{0, field.base | uint64(g.numbers[n][k%atOnce])}
		}
	}
	g.ids.number(ids, groups[:len(ids)])
}

// dealNumbers writes the groups of rows that numbers tell apart.
func (g *Grouping) dealNumbers(groups []uint32) {
	first, second := &g.numbers[0], &g.numbers[1]
	for k := range groups {
		numbers := uint64(first[k%atOnce]) | uint64(second[k%atOnce])<<32
		group, found := g.recent.find(numbers)
		if !found {
			var id groupID
			for n, field := range g.fields {
				id[n][1] = field.base | numbers>>(32*n)&math.MaxUint32
			}
			group = g.ids.find(&id, g.ids.hash(&id)) - 1
			g.recent.keep(numbers, group)
		}
		groups[k] = group
	}
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
