// Package cgroup names the control groups (cgroup v2, cgroups(7)) that kernel programs
// tell by their ids.
//
// Terms. An id is what bpf_skb_cgroup_id says: 64 bits that the kernel gives to one group
// and to no other after it, so that a name, once learnt, stays right. A name is the path
// of the group's directory below the mount of cgroup2, such as
// /system.slice/nginx.service, and / for the root. A group can be moved to no other path.
//
// Names are looked up by file handles (open_by_handle_at(2)), in a few microseconds, and
// kept beyond the end of their groups. Whoever meets an id tells Sighted at once, since
// groups may be short-lived; a goroutine of Run's looks up what was sighted.
//
// Ownership. Sighted takes no lock and may be called from where nothing may wait. All
// else may be called from any goroutine.
package cgroup

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Room is how many octets of names are kept.
const Room = 16 << 20

const (
	// entryRoom is what a name takes in Room besides itself.
	entryRoom = 128
	// again is how long it takes until an id of which no name was found is looked up
	// again.
	again = 10 * time.Second

	sightedBits = 10
	// lookInterval is how soon what was sighted is looked up.
	lookInterval = 10 * time.Millisecond
)

// Stats are counters.
type Stats struct {
	Named     atomic.Uint64 // lookups that found a name
	Unnamed   atomic.Uint64 // … that found none: the group was gone, or cannot be seen from here
	Forgotten atomic.Uint64 // names that had to make room
}

// Names are those of the groups that were met.
type Names struct {
	mount    *mount // nil where none can be asked
	warnings []string
	stats    Stats

	sighted [1 << sightedBits]atomic.Uint64
	fresh   atomic.Bool // sighted has something new

	mutex  sync.RWMutex
	known  map[uint64]entry
	order  []uint64 // of known, the oldest first
	octets int      // that they take
	room   int      // that they may take
}

// entry is what is known of an id.
type entry struct {
	name  string
	until time.Time // when a group without a name is looked up again; zero for a name
}

// Open finds where cgroup2 is mounted. Where it is not, or groups cannot be looked up,
// Warnings say so, and every group is called by its number.
func Open() *Names {
	n := &Names{known: make(map[uint64]entry), room: Room}
	var err error
	if n.mount, err = openMount(); err != nil {
		n.warnings = append(n.warnings, fmt.Sprintf("owners are told by the numbers of their control groups alone: %v", err))
	}
	return n
}

// Warnings are what the operator should know.
func (n *Names) Warnings() []string { return n.warnings }

// Where is the directory that names are paths below of; empty where there is none.
func (n *Names) Where() string {
	if n.mount == nil {
		return ""
	}
	return n.mount.path
}

// Stats are the counters so far.
func (n *Names) Stats() *Stats { return &n.stats }

// Sighted tells that a group sent something just now. It may be passed over where many
// are sighted at once: then Name looks it up when it is asked.
func (n *Names) Sighted(id uint64) {
	place := &n.sighted[id*0x9e3779b97f4a7c15>>(64-sightedBits)]
	if place.Load() != id {
		place.Store(id)
		n.fresh.Store(true)
	}
}

// Run looks up what is sighted, until ctx ends.
func (n *Names) Run(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.look()
		}
	}
}

// look looks up all that was sighted and is not known.
func (n *Names) look() {
	if !n.fresh.Swap(false) {
		return
	}
	for i := range n.sighted {
		if id := n.sighted[i].Load(); id != 0 {
			n.Name(id)
		}
	}
}

// Name returns the name of a group: its path, or "cgroup:" and the id in decimal where
// that is not known.
func (n *Names) Name(id uint64) string {
	n.mutex.RLock()
	e, found := n.known[id]
	n.mutex.RUnlock()
	if !found || !e.until.IsZero() && time.Now().After(e.until) {
		e = n.lookUp(id)
	}
	return e.name
}

func (n *Names) lookUp(id uint64) entry {
	e := entry{name: "cgroup:" + strconv.FormatUint(id, 10), until: time.Now().Add(again)}
	if n.mount != nil {
		if path, err := n.mount.find(id); err == nil {
			e = entry{name: path}
		}
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	before, found := n.known[id]
	if found && before.until.IsZero() { // another goroutine was faster
		return before
	}
	if e.until.IsZero() {
		n.stats.Named.Add(1)
	} else if !found {
		n.stats.Unnamed.Add(1)
	}
	n.keep(id, e, before, found)
	return e
}

// keep puts an entry in the place of one before it, or makes room for it.
func (n *Names) keep(id uint64, e, before entry, found bool) {
	if found {
		n.octets -= entryRoom + len(before.name)
	} else {
		n.order = append(n.order, id)
	}
	n.known[id] = e
	n.octets += entryRoom + len(e.name)
	for n.octets > n.room {
		oldest := n.order[0]
		n.order = n.order[1:]
		n.octets -= entryRoom + len(n.known[oldest].name)
		delete(n.known, oldest)
		n.stats.Forgotten.Add(1)
	}
}

// Close gives up what Open opened. No name may be asked for any more.
func (n *Names) Close() error {
	if n.mount == nil {
		return nil
	}
	return n.mount.close()
}
