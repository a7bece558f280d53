package query

import (
	"strings"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
)

// ownerField is the name of whoever a side belongs to. A service that was started again
// has another id, and the same name.
func ownerField(of sides) number {
	return func(g *Grouping, f *frame, rows []uint16, to *[atOnce]uint32) bool {
		owners := ownersOf(f.block, of)
		known, owner, at := false, uint64(0), uint32(0) // of the row before
		for k, row := range rows {
			if o := owners[row]; !known || o != owner {
				known, owner, at = true, o, uint32(g.owner(f.names, o))
			}
			to[k%atOnce] = at
		}
		return true
	}
}

// owner is the place of an owner's name in g.texts.
func (g *Grouping) owner(names *api.Names, id uint64) uint64 {
	at, found := g.owners[id]
	if !found {
		if id == 0 {
			at = g.texts.place("")
		} else {
			at = g.texts.place(names.Owner(id))
		}
		if g.owners == nil {
			g.owners = make(map[uint64]uint64)
		}
		g.owners[id] = at
	}
	return at
}

func ownersOf(b *history.Block, of sides) *[history.Rows]uint64 {
	if of == clientSide {
		return &b.Client.Owner
	}
	return &b.Server.Owner
}

// ownerParameter fits owners of these names, and those below them.
func ownerParameter(name, doc string, of sides) Parameter {
	return Parameter{Name: name, Doc: doc, Several: true, Example: "/system.slice/nginx.service", Scopes: Records | Followed, read: func(b *building, values []string) error {
		b.filter.add(predicate{cost: costNumber, needs: opened, narrow: func(f *frame, rows []uint16) []uint16 {
			fits := make(map[uint64]bool)
			fit := func(owner uint64) bool {
				if owner == 0 {
					return false
				}
				is, found := fits[owner]
				if !found {
					is = isWithin(f.names.Owner(owner), values)
					fits[owner] = is
				}
				return is
			}
			return keep(rows, func(row uint16) bool {
				return of&clientSide != 0 && fit(f.block.Client.Owner[row]) || of&serverSide != 0 && fit(f.block.Server.Owner[row])
			})
		}})
		return nil
	}}
}

// isWithin tells whether a control group is one of some, or below one of them.
func isWithin(name string, groups []string) bool {
	for _, group := range groups {
		below, within := strings.CutPrefix(name, strings.TrimSuffix(group, "/"))
		if within && (below == "" || below[0] == '/') {
			return true
		}
	}
	return false
}
