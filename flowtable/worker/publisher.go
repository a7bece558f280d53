package worker

import (
	"time"

	"github.com/finwait/finwait/flowtable"
)

// publishInterval is how long a record may wait in its ring when the
// publisher found all rings empty.
const publishInterval = 2 * time.Millisecond

// Publish gives the records of all rings to deliver until every ring is
// closed and empty. The records are deliver's until it returns; as long as it
// takes, its rings fill.
func Publish(rings []*flowtable.Ring, deliver func([]flowtable.Record)) {
	for open := len(rings); open > 0; {
		open = 0
		idle := true
		for _, ring := range rings {
			records, done := ring.Read()
			if !done {
				open++
			}
			if len(records) > 0 {
				deliver(records)
				ring.Release(len(records))
				idle = false
			}
		}
		if idle && open > 0 {
			time.Sleep(publishInterval)
		}
	}
}
