package worker

import (
	"time"

	"github.com/finwait/finwait/flowtable"
)

// A publisher that finds all rings empty sleeps, longer each time: waiting for
// none costs nothing. Even the shortest pause lets some records come together,
// since being woken for one costs more than delivering a hundred; the rings hold
// what comes meanwhile.
const (
	minPause = 10 * time.Millisecond
	maxPause = 40 * time.Millisecond
)

// Publish gives the records of all rings to deliver until every ring is
// closed and empty. The records are deliver's until it returns; as long as it
// takes, its rings fill. idle is called whenever there are none, at least every 40
// ms; it may be nil.
func Publish(rings []*flowtable.Ring, deliver func([]flowtable.Record), idle func()) {
	pause := minPause
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
		switch {
		case !empty:
			pause = minPause
		case open > 0:
			if idle != nil {
				idle()
			}
			time.Sleep(pause)
			pause = min(2*pause, maxPause)
		}
	}
}
