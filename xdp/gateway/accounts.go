package gateway

import (
	"fmt"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp"
)

// flowTables are those of all interfaces; a key's Scope tells which one it is in.
type flowTables []*port

// read is Peek or Take of the keys of one scope.
type read func(a *xdp.Accounts, scope uint32, keys []segment.Key, counters []segment.Counters) error

// Accounts are the flow tables of all interfaces.
func (g *Gateway) Accounts() xdp.FlowTable { return flowTables(g.ports) }

// Peek reads counters, as that of xdp.Accounts does.
func (t flowTables) Peek(keys []segment.Key, counters []segment.Counters) error {
	return t.each(keys, counters, (*xdp.Accounts).PeekOf)
}

// Take is Peek and deletes the entries.
func (t flowTables) Take(keys []segment.Key, counters []segment.Counters) error {
	return t.each(keys, counters, (*xdp.Accounts).TakeOf)
}

// each reads once at each interface of which there are keys.
func (t flowTables) each(keys []segment.Key, counters []segment.Counters, do read) error {
	var asked [segment.MaxScope/64 + 1]uint64 // a bit for each scope
	for i := range keys {
		scope := keys[i].Scope
		if scope == 0 || int(scope) > len(t) {
			return fmt.Errorf("a connection of interface number %d, of %d", scope, len(t))
		}
		bit := uint64(1) << (scope % 64)
		if asked[scope/64]&bit != 0 {
			continue
		}
		asked[scope/64] |= bit
		if err := do(t[scope-1].accounts, scope, keys, counters); err != nil {
			return err
		}
	}
	return nil
}
