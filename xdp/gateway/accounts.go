package gateway

import (
	"fmt"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp"
)

// accountsBatch is the most keys of one call, as of xdp.Accounts.
const accountsBatch = 64

// flowTables are those of all interfaces; a key's Scope tells which one it is in.
type flowTables []*port

// read is Peek or Take of one interface's flow table.
type read func(a *xdp.Accounts, keys []segment.Key, counters []segment.Counters) error

// Accounts are the flow tables of all interfaces.
func (g *Gateway) Accounts() xdp.FlowTable { return flowTables(g.ports) }

// Peek reads counters, as that of xdp.Accounts does.
func (t flowTables) Peek(keys []segment.Key, counters []segment.Counters) error {
	return t.each(keys, counters, (*xdp.Accounts).Peek)
}

// Take is Peek and deletes the entries.
func (t flowTables) Take(keys []segment.Key, counters []segment.Counters) error {
	return t.each(keys, counters, (*xdp.Accounts).Take)
}

func (t flowTables) each(keys []segment.Key, counters []segment.Counters, do read) error {
	if len(keys) > accountsBatch || len(counters) < len(keys) {
		return fmt.Errorf("%d keys and room for %d counters: at most %d keys, and room for each", len(keys), len(counters), accountsBatch)
	}
	var (
		of    [accountsBatch]segment.Key
		found [accountsBatch]segment.Counters
		done  uint64 // a bit for each key
	)
	for i := range keys {
		if done>>i&1 != 0 {
			continue
		}
		scope, n := keys[i].Scope, 0
		for j := i; j < len(keys); j++ {
			if keys[j].Scope == scope {
				of[n] = keys[j]
				of[n].Scope = 0 // in the kernel, the table is the scope
				n++
			}
		}
		if scope == 0 || int(scope) > len(t) {
			return fmt.Errorf("a connection of interface number %d, of %d", scope, len(t))
		}
		if err := do(t[scope-1].accounts, of[:n], found[:n]); err != nil {
			return err
		}
		for j, k := i, 0; j < len(keys); j++ {
			if keys[j].Scope == scope {
				counters[j] = found[k]
				k++
				done |= 1 << j
			}
		}
	}
	return nil
}
