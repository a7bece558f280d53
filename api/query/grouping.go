package query

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/finwait/finwait/api"
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

	numbers    map[groupID]uint32
	ids        []groupID
	recent     [256]uint32 // number + 1 of a group, by a hash of its key
	interfaces []string
	lastNames  *api.Names
	lastNumber uint32
	lastIface  uint64
}

// groupID tells groups apart: what each field is, in 16 octets.
type groupID [MaxGroupFields][2]uint64

// groupField is one field to group by.
type groupField struct {
	name string
	id   func(g *Grouping, f *frame, i int) [2]uint64
	set  func(g *Grouping, key *api.GroupKey, id [2]uint64)
}

var groupFields = []groupField{
	{"server", func(_ *Grouping, f *frame, i int) [2]uint64 { return halves(&f.block.Server.Address[i]) },
		func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.Server = new(whole(id).String()) }},
	{"server_port", func(_ *Grouping, f *frame, i int) [2]uint64 { return number(f.block.Server.Port[i]) },
		func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.ServerPort = new(uint16(id[1])) }},
	{"server_network", func(g *Grouping, f *frame, i int) [2]uint64 { return g.network(&f.block.Server.Address[i]) },
		func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.ServerNetwork = new(g.prefix(id).String()) }},
	{"client", func(_ *Grouping, f *frame, i int) [2]uint64 { return halves(&f.block.Client.Address[i]) },
		func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.Client = new(whole(id).String()) }},
	{"client_network", func(g *Grouping, f *frame, i int) [2]uint64 { return g.network(&f.block.Client.Address[i]) },
		func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.ClientNetwork = new(g.prefix(id).String()) }},
	{"close_kind", func(_ *Grouping, f *frame, i int) [2]uint64 { return number(f.block.CloseKind[i]) },
		func(_ *Grouping, k *api.GroupKey, id [2]uint64) {
			k.CloseKind = new(flowtable.CloseKind(id[1]).String())
		}},
	{"close_initiator", func(_ *Grouping, f *frame, i int) [2]uint64 { return number(f.block.Initiator[i]) },
		func(_ *Grouping, k *api.GroupKey, id [2]uint64) {
			k.CloseInitiator = new(flowtable.Party(id[1]).String())
		}},
	{"interface", func(g *Grouping, f *frame, i int) [2]uint64 { return g.iface(f, i) },
		func(g *Grouping, k *api.GroupKey, id [2]uint64) { k.Interface = &g.interfaces[id[1]] }},
	{"vlan", func(_ *Grouping, f *frame, i int) [2]uint64 { return number(f.block.VLAN[i]) },
		func(_ *Grouping, k *api.GroupKey, id [2]uint64) { k.VLAN = new(uint16(id[1])) }},
}

// NewGrouping groups by fields of GroupFields; all in one group without any.
func NewGrouping(fields []string, lengths Networks) (*Grouping, error) {
	g := &Grouping{lengths: lengths, numbers: make(map[groupID]uint32)}
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
	if len(g.fields) == 0 && len(g.ids) == 0 && len(rows) > 0 {
		g.ids = append(g.ids, groupID{})
	}
	if len(g.fields) == 0 {
		clear(groups[:len(rows)])
		return
	}
	for k, row := range rows {
		var id groupID
		for n, field := range g.fields {
			id[n] = field.id(g, f, int(row))
		}
		groups[k] = g.number(&id)
	}
}

// number is that of a group, new or not. Few groups have most connections, so a
// small table of those seen last stands before the map.
func (g *Grouping) number(id *groupID) uint32 {
	h := id[0][0] ^ id[0][1]*0x9e3779b97f4a7c15 ^ id[1][0]*0xc2b2ae3d27d4eb4f ^ id[1][1]*0x165667b19e3779f9
	h *= 0x9e3779b97f4a7c15
	seen := &g.recent[h>>56]
	if n := *seen; n > 0 && g.ids[n-1] == *id {
		return n - 1
	}
	n, found := g.numbers[*id]
	if !found {
		n = uint32(len(g.ids))
		g.numbers[*id] = n
		g.ids = append(g.ids, *id)
	}
	*seen = n + 1
	return n
}

// key is what a group's connections have in common.
func (g *Grouping) key(number uint32) (key api.GroupKey) {
	for n, field := range g.fields {
		field.set(g, &key, g.ids[number][n])
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
		x, y := g.ids[a][n], g.ids[b][n]
		if field.name == "interface" {
			if c := strings.Compare(g.interfaces[x[1]], g.interfaces[y[1]]); c != 0 {
				return c
			}
		} else if c := slices.Compare(x[:], y[:]); c != 0 {
			return c
		}
	}
	return 0
}

func (g *Grouping) network(a *[16]byte) [2]uint64 {
	h := halves(a)
	mask := &g.networks[1]
	if h[0] == 0 && h[1]>>32<<32 == mappedMark {
		mask = &g.networks[0]
	}
	return [2]uint64{h[0] & mask.highMask, h[1] & mask.lowMask}
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

func (g *Grouping) iface(f *frame, i int) [2]uint64 {
	n := f.block.Interface[i]
	if g.lastNames == f.names && g.lastNumber == n {
		return [2]uint64{0, g.lastIface}
	}
	name := f.names.Interface(n)
	at := slices.Index(g.interfaces, name)
	if at < 0 {
		at = len(g.interfaces)
		g.interfaces = append(g.interfaces, name)
	}
	g.lastNames, g.lastNumber, g.lastIface = f.names, n, uint64(at)
	return [2]uint64{0, g.lastIface}
}

func halves(a *[16]byte) [2]uint64 {
	return [2]uint64{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
}

func whole(id [2]uint64) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], id[0])
	binary.BigEndian.PutUint64(a[8:], id[1])
	return api.Address(&a)
}

func number[T ~uint8 | ~uint16](n T) [2]uint64 { return [2]uint64{0, uint64(n)} }
