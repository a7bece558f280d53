package metrics

import (
	"time"

	"github.com/finwait/finwait/flowtable"
)

// timeWait is 2 MSL as Linux keeps it (TCP_TIMEWAIT_LEN in net/tcp.h): a tuple
// that is opened anew sooner met a TIME-WAIT.
const timeWait = int64(60 * time.Second)

const (
	parties  = int(flowtable.Server) + 1
	gradesOf = int(flowtable.Lossy) + 1 // of evidence
)

// ofParty are counts of both parties of a connection, the client's first.
type ofParty [2]total

// tally is what was counted of records. Of what has labels a member is there once it was
// met. It has no lock.
type tally struct {
	phases     [flowtable.Phases][parties][flowtable.CloseKinds]*histogram
	handshakes [2]*histogram // the server's leg, the client's
	closed     [flowtable.CloseKinds][parties][flowtable.EndReasons]total
	graded     [gradesOf]total
	opening    ofParty // SYN and SYN-ACK that were sent again
	closing    ofParty // FIN
	octets     ofParty
	payload    ofParty
	slices     total
	reuses     total
	phaseScale *scale
}

// total is a counter; it was met where it has a time.
type total struct {
	value uint64
	since time.Time
}

func (t *total) met() bool { return !t.since.IsZero() }

func (t *total) add(n uint64) {
	if !t.met() {
		t.since = time.Now()
	}
	t.value += n
}

// newTally begins what is sure to come, at 0: a rate has no beginning where its
// counter appears with a value.
func newTally() *tally {
	t := &tally{phaseScale: newScale(phaseBuckets)}
	for _, p := range []flowtable.Party{flowtable.Client, flowtable.Server} {
		for _, k := range []flowtable.CloseKind{flowtable.Reset, flowtable.Simultaneous, flowtable.ThreeWay, flowtable.FourWay} {
			t.closed[k][p][flowtable.EndClosed].add(0)
			for phase := range t.phases {
				t.phase(flowtable.Phase(phase), p, k)
			}
		}
		t.closed[flowtable.HalfClosed][p][flowtable.EndIdleTimeout].add(0)
	}
	t.closed[flowtable.Refused][flowtable.Server][flowtable.EndClosed].add(0)
	t.closed[flowtable.Unanswered][flowtable.Nobody][flowtable.EndIdleTimeout].add(0)
	t.closed[flowtable.HalfOpen][flowtable.Nobody][flowtable.EndIdleTimeout].add(0)
	for g := range t.graded {
		t.graded[g].add(0)
	}
	for _, both := range []*ofParty{&t.opening, &t.closing, &t.octets, &t.payload} {
		both[0].add(0)
		both[1].add(0)
	}
	t.slices.add(0)
	t.reuses.add(0)
	handshakes := newScale(handshakeBuckets)
	t.handshakes = [2]*histogram{newHistogram(handshakes), newHistogram(handshakes)}
	return t
}

// clone copies all that is added to.
func (t *tally) clone() *tally {
	clone := *t
	for p := range clone.phases {
		for i := range clone.phases[p] {
			for k := range clone.phases[p][i] {
				clone.phases[p][i][k] = t.phases[p][i][k].clone()
			}
		}
	}
	for i, h := range t.handshakes {
		clone.handshakes[i] = h.clone()
	}
	return &clone
}

// take counts a record.
func (t *tally) take(r *flowtable.Record) {
	for i, s := range [...]*flowtable.Side{&r.Client, &r.Server} {
		if r.Accounting == flowtable.AccountingCounted {
			t.octets[i].add(s.Octets)
		}
		t.payload[i].add(s.Payload)
	}
	if r.EndReason == flowtable.EndActiveTimeout {
		t.slices.add(1) // all else is said by the record that ends it
		return
	}
	t.takeWhole(r)
}

// takeWhole counts the record of a connection that is over.
func (t *tally) takeWhole(r *flowtable.Record) {
	t.closed[r.CloseKind][r.Initiator][r.EndReason].add(1)
	t.graded[r.Evidence].add(1)
	for p := range flowtable.Phase(flowtable.Phases) {
		if ns, ok := r.Phase(p); ok {
			t.phase(p, r.Initiator, r.CloseKind).observe(ns)
		}
	}
	if ns, ok := r.Between(flowtable.SYNAt, flowtable.SYNACKAt); ok {
		t.handshakes[0].observe(ns)
	}
	if ns, ok := r.Between(flowtable.SYNACKAt, flowtable.EstablishedAt); ok {
		t.handshakes[1].observe(ns)
	}
	for i, s := range [...]*flowtable.Side{&r.Client, &r.Server} {
		t.opening[i].add(uint64(s.SYNRetransmits))
		t.closing[i].add(uint64(s.FINRetransmits))
	}
	if r.Reused && r.ReuseAfter < timeWait {
		t.reuses.add(1)
	}
}

func (t *tally) phase(p flowtable.Phase, initiator flowtable.Party, kind flowtable.CloseKind) *histogram {
	h := &t.phases[p][initiator][kind]
	if *h == nil {
		*h = newHistogram(t.phaseScale)
	}
	return *h
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }
