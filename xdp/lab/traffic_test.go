package lab

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTrafficIsWhatTheTapSees holds the expectations against a capture.
func TestTrafficIsWhatTheTapSees(t *testing.T) {
	attempts := 3
	for name, queues := range map[string]int{"one queue": 1, "two queues": 2} {
		t.Run(name, func(t *testing.T) {
			var (
				report   Report
				expected []Expectation
				calls    int
			)
			for again := true; again; {
				network := build(t, Config{TapQueues: queues})
				w := newWitness(t, network)
				var err error
				expected, err = network.Traffic(t.Context(), 3*time.Second, func(p Progress) { calls = p.Connections })
				sightings := w.stop(t)
				if err != nil {
					t.Fatal(err)
				}
				report = Compare(expected, verdict(sightings))
				var table strings.Builder
				if err := report.WriteTable(&table); err != nil {
					t.Error(err)
				}
				t.Logf("%d segments\n%s", len(sightings), &table)
				// What the hub could not hand over, no witness saw: once more.
				dropped, err := network.Dropped()
				if err != nil {
					t.Fatal(err)
				}
				again = !report.OK() && dropped > 0 && attempts > 0
				attempts--
			}
			if !report.OK() {
				t.Error("the lab did not do what it says")
			}
			if calls != len(expected) {
				t.Errorf("progress reached %d connections of %d", calls, len(expected))
			}
			requireEvery(t, report, expected)
		})
	}
}

// requireEvery wants every scenario over both families, every close kind the
// scenarios are there for, and wire-sized segments.
func requireEvery(t *testing.T, report Report, expected []Expectation) {
	t.Helper()
	families := map[string]map[bool]bool{}
	for _, e := range expected {
		if families[e.Scenario] == nil {
			families[e.Scenario] = map[bool]bool{}
		}
		families[e.Scenario][e.ClientIP.Is6()] = true
	}
	for _, s := range scenarios {
		if len(families[s.name]) != 2 {
			t.Errorf("scenario %q was played over %d of 2 families", s.name, len(families[s.name]))
		}
	}
	kinds := map[string]int{}
	for _, r := range report.Scenarios {
		for kind, n := range r.CloseKinds {
			kinds[kind] += n
		}
	}
	for _, kind := range []string{kindRefused, kindReset, kindSimultaneous, kindThreeWay, kindFourWay, kindUnanswered} {
		if kinds[kind] == 0 {
			t.Errorf("no connection ended as %q", kind)
		}
	}
}

// TestSegmentsAreWireSized: no offload may show at the tap.
func TestSegmentsAreWireSized(t *testing.T) {
	network := build(t, Config{})
	w := newWitness(t, network)
	_, err := network.traffic(t.Context(), []scenario{scenarios[place("bulk")]}, 0, nil)
	sightings := w.stop(t)
	if err != nil {
		t.Fatal(err)
	}
	full := 0
	for _, s := range sightings {
		if s.octets > 1500 {
			t.Fatalf("a segment of %d IP octets at the tap", s.octets)
		}
		if s.octets == 1500 {
			full++
		}
	}
	// The sender's buffer ends between two full segments now and then.
	if least := len(families) * bulkOctets / 1500 / 2; full < least {
		t.Errorf("%d full segments at the tap, expected at least %d", full, least)
	}
}

func TestTrafficInterrupted(t *testing.T) {
	network := build(t, Config{})
	before := openDescriptors(t)
	stop := errors.New("that is enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	// Every scenario is under way for longer than one play takes to begin.
	interrupted := false
	_, err := network.Traffic(ctx, time.Minute, func(p Progress) {
		if !interrupted {
			interrupted = true
			cancel(stop)
		}
	})
	if !errors.Is(err, stop) {
		t.Errorf("error %v, expected one that is %q", err, stop)
	}
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors are open after an interrupt, %d before", after, before)
	}
}

// TestTrafficAfterClose: an error, no panic.
func TestTrafficAfterClose(t *testing.T) {
	network := build(t, Config{})
	if err := network.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := network.Traffic(t.Context(), 0, nil); err == nil {
		t.Error("traffic in a closed lab")
	}
}

// openDescriptors counts this process's sockets.
func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	sockets := 0
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && strings.HasPrefix(target, "socket:") {
			sockets++
		} else if err != nil && !errors.Is(err, unix.ENOENT) {
			t.Fatal(err)
		}
	}
	return sockets
}
