package worker

import (
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
)

func newTestAlarm(t *testing.T) *alarm {
	t.Helper()
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// TestAlarm: it sleeps for as long as it is told, every time, and allocates nothing.
func TestAlarm(t *testing.T) {
	a := newTestAlarm(t)
	for _, d := range []time.Duration{20 * time.Millisecond, time.Millisecond, 5 * time.Millisecond} {
		before := time.Now()
		a.sleep(d)
		if took := time.Since(before); took < d {
			t.Errorf("it slept %v, not %v", took, d)
		}
	}
	if n := testing.AllocsPerRun(20, func() { a.sleep(time.Microsecond) }); n != 0 {
		t.Errorf("%v allocations for each sleep", n)
	}
}

// TestAnnounce: a pause gives the publisher what there is, a short one not more often
// than every leastPause, and none where there is nothing.
func TestAnnounce(t *testing.T) {
	ring, bell := flowtable.NewRing(16, false), flowtable.NewBell()
	ring.Wake(bell)
	<-bell
	w := &Worker{member: Member{Ring: ring}}
	rings := func(at, pause time.Duration) bool {
		w.turnedAt = int64(at)
		w.announce(pause)
		select {
		case <-bell:
			return true
		default:
			return false
		}
	}
	if rings(time.Second, time.Hour) {
		t.Error("it announced an empty ring")
	}
	ring.Next()
	ring.Commit()
	for _, step := range []struct {
		at, pause time.Duration
		want      bool
	}{
		{time.Second, 0, true},
		{time.Second + leastPause/2, 0, false},
		{time.Second + leastPause/2, leastPause, true},
		{time.Second + leastPause, 0, false},
		{time.Second + 2*leastPause, 0, true},
	} {
		if got := rings(step.at, step.pause); got != step.want {
			t.Errorf("at %v, before a pause of %v: %v, want %v", step.at, step.pause, got, step.want)
		}
	}
	ring.Release(1)
	if rings(time.Hour, time.Hour) {
		t.Error("it announced what had been taken")
	}
}

// TestPatience: a full batch is followed by another look at once, a part of one
// by a nap, and only silence by waiting for the source.
func TestPatience(t *testing.T) {
	const ms = int64(time.Millisecond)
	for name, test := range map[string]struct {
		polling  Polling
		received int
		silence  int64
		want     time.Duration
		sleeps   bool
	}{
		"full batch":        {DefaultPolling(), batchSize, 0, 0, false},
		"part of one":       {DefaultPolling(), 3, 0, 0, true},
		"nothing, lately":   {DefaultPolling(), 0, 2 * ms, 0, true},
		"nothing for long":  {DefaultPolling(), 0, 20 * ms, idleWait, false},
		"nobody wakes it":   {Polling{Nap: time.Hour, Rest: shortest}, 0, 20 * ms, 0, true},
		"no nap":            {Polling{}, 3, 0, idleWait, false},
		"spinning":          {Polling{Spin: 3 * time.Millisecond, Nap: time.Hour}, 0, 2 * ms, 0, false}, // an hour's nap would not pass
		"spun long enough":  {Polling{Spin: time.Millisecond}, 0, 2 * ms, idleWait, false},
		"spinning for ever": {Polling{Spin: -1, Nap: time.Hour}, 0, 1000 * ms, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Worker{team: &Team{}, member: Member{Ring: flowtable.NewRing(1, false)}, alarm: newTestAlarm(t),
				received: test.received, heardAt: 1e9, turnedAt: 1e9 + test.silence}
			w.team.Poll(test.polling)
			slept := false
			for range 5 { // the runtime's signals end a nap now and then
				before := time.Now()
				if got := w.patience(idleWait); got != test.want {
					t.Errorf("the source may wait %v, not %v", got, test.want)
				}
				slept = slept || time.Since(before) >= minNap
			}
			if test.sleeps && !slept {
				t.Error("it did not sleep")
			}
		})
	}
}

// TestNaps: what comes decides how long a worker sleeps, within bounds.
func TestNaps(t *testing.T) {
	const longest = 2 * time.Millisecond
	shallow, deep := Polling{Nap: longest}, Polling{Nap: longest, Burst: 8000}
	w := &Worker{}
	naps := func(segments int, p Polling) time.Duration {
		w.sinceNap = segments
		w.fitNap(&p)
		if w.sinceNap != 0 {
			t.Fatal("the segments before a nap count for the next one, too")
		}
		return w.nap
	}
	for i, step := range []struct {
		segments int
		polling  Polling
		want     time.Duration
	}{
		{0, shallow, minNap},
		{burst/4 - 1, shallow, 2 * minNap},
		{burst / 4, shallow, 2 * minNap},
		{burst, shallow, 2 * minNap},
		{0, shallow, 4 * minNap},
		{0, shallow, longest},
		{0, shallow, longest},
		{burst + 1, shallow, longest / 2},
		{1 << 20, shallow, longest / 4},
		{1 << 20, shallow, minNap},
		{1 << 20, shallow, minNap},
		{1 << 20, Polling{Nap: 100 * time.Microsecond}, 100 * time.Microsecond},
		{1999, deep, minNap},
		{1999, deep, 2 * minNap},
		{2000, deep, 2 * minNap},
		{8000, deep, 2 * minNap},
		{8001, deep, minNap},
	} {
		if got := naps(step.segments, step.polling); got != step.want {
			t.Errorf("step %d: after %d segments a nap of %v, want %v", i, step.segments, got, step.want)
		}
	}
}
