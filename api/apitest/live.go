package apitest

import (
	"slices"

	"github.com/finwait/finwait/flowtable"
)

// Live is a history.Live over records of connections that are followed.
type Live struct {
	Records []flowtable.Record
	// Err is what View fails with, after all it has shown.
	Err error
	// Worker, unless it is nil, makes a record what the worker alone knows of it.
	Worker func(*flowtable.Record)
	// During, unless it is nil, is called in the middle of a look.
	During func()
}

// Look shows all connections, whatever g says of them.
func (l *Live) Look(g *flowtable.Glance, yield func(flowtable.Place, *flowtable.Record) bool) {
	for i := range l.Records {
		if i == len(l.Records)/2 && l.During != nil {
			l.During()
		}
		r := l.Records[i]
		if l.Worker != nil {
			l.Worker(&r)
		}
		g.Looked++
		if !yield(flowtable.Place{Serial: r.Serial}, &r) {
			return
		}
	}
}

// Seek finds every connection of Records.
func (l *Live) Seek(serial uint64) (flowtable.Place, bool) {
	return flowtable.Place{Serial: serial}, l.of(serial) >= 0
}

// View shows connections as they stand in Records.
func (l *Live) View(places []flowtable.Place, yield func(int, *flowtable.Record) bool) error {
	for i, p := range places {
		if at := l.of(p.Serial); at >= 0 && !yield(i, &l.Records[at]) {
			break
		}
	}
	return l.Err
}

func (l *Live) of(serial uint64) int {
	return slices.IndexFunc(l.Records, func(r flowtable.Record) bool { return r.Serial == serial })
}
