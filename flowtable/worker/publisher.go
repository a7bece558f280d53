package worker

import (
	"time"

	"github.com/finwait/finwait/flowtable"
)

// callInterval is how often Publish calls idle at least, and how long a record waits at
// most whose ring nobody announces.
const callInterval = 500 * time.Millisecond

// Publish gives the records of all rings to deliver until every ring is
// closed and empty. The records are deliver's until it returns; as long as it
// takes, its rings fill. Between two deliveries it sleeps until a ring is announced,
// which a worker does when it has been through what came, so that waiting for none costs
// nothing and being woken is for many. idle is called whenever there are none, at
// least every half second; it may be nil.
func Publish(rings []*flowtable.Ring, deliver func([]flowtable.Record), idle func()) {
	bell := flowtable.NewBell()
	for _, ring := range rings {
		ring.Wake(bell)
	}
	call := time.NewTicker(callInterval)
	defer call.Stop()
	for open := len(rings); open > 0; {
		open = 0
		empty := true
		for _, ring := range rings {
			records, done := ring.Read()
			if !done {
				open++
			}
			if len(records) > 0 {
				deliver(records)
				ring.Release(len(records))
				empty = false
			}
		}
		if empty && open > 0 {
			if idle != nil {
				idle()
			}
			select {
			case <-bell:
			case <-call.C:
			}
		}
	}
}
