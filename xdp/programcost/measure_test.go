package programcost

import (
	"context"
	"errors"
	"os"
	"testing"
)

// needRoot skips without privilege, and fails instead where CI must not skip.
func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		tb.Fatal("needs root")
	}
	tb.Skip("needs root")
}

// TestMeasure: every program is timed in every round, with both kinds of keys.
func TestMeasure(t *testing.T) {
	needRoot(t)
	c := Config{Flows: 1 << 10, Rounds: 3, Frames: 1 << 10}
	timed := 0
	c.Timed = func() { timed++ }
	r, err := Measure(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if timed != c.Timings() {
		t.Errorf("timed %d times, %d announced", timed, c.Timings())
	}
	for _, k := range []Keys{Hot, Random} {
		if len(r.Fronts[k]) != c.Rounds {
			t.Errorf("%v keys: the front has %d figures, want %d", k, len(r.Fronts[k]), c.Rounds)
		}
		for _, p := range Programs() {
			cost := r.Cost(p, k)
			if cost.Program != p || cost.Keys != k || len(cost.NS) != c.Rounds || cost.NS.Median() <= 0 {
				t.Errorf("%v, %v keys: %+v", p, k, cost)
			}
		}
		if n := len(r.Ratio(Counted, Minimal, Empty, k)); n != c.Rounds {
			t.Errorf("%v keys: %d ratios", k, n)
		}
		t.Logf("%v keys: the front %.1f ns", k, r.Fronts[k].Median())
		for _, p := range Programs() {
			t.Logf("%v keys: %v %.1f ns", k, p, r.Cost(p, k).NS.Median())
		}
	}
}

// TestEveryFlow: the random front draws all flows, and each has an entry in
// both maps: a program that did not find one would have returned otherwise.
func TestEveryFlow(t *testing.T) {
	needRoot(t)
	const flows = 64
	b, err := openBench(flows)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.close() }()
	seen := make(map[[4]byte]bool)
	if err := b.slot.Put(uint32(0), b.programs[Minimal]); err != nil {
		t.Fatal(err)
	}
	for range 40 * flows {
		action, out, err := b.fronts[Random].Test(b.frame)
		if err != nil || action != xdpDrop {
			t.Fatalf("action %d: %v", action, err)
		}
		seen[[4]byte(out[atSource:])] = true
	}
	for flow := range flows {
		if !seen[source(flow)] {
			t.Errorf("flow %d was never drawn", flow)
		}
	}
	if len(seen) != flows {
		t.Errorf("%d flows were drawn, want %d", len(seen), flows)
	}
}

// TestRefuses what cannot be measured.
func TestRefuses(t *testing.T) {
	for _, c := range []Config{{Flows: 3}, {Flows: -1}, {Flows: 1 << 25}, {Rounds: -1}, {Frames: 1}} {
		if _, err := Measure(context.Background(), c); err == nil {
			t.Errorf("%+v was measured", c)
		}
	}
	needRoot(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	if _, err := Measure(ctx, Config{Flows: 2, Rounds: 1, Frames: 2}); !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSample holds quantiles against known ones.
func TestSample(t *testing.T) {
	s := Sample{5, 1, 4, 2, 3}
	low, high := s.Quartiles()
	if s.Median() != 3 || low != 2 || high != 4 || s[0] != 5 {
		t.Errorf("median %v, quartiles %v and %v, of %v", s.Median(), low, high, s)
	}
	if (Sample{2, 1}).Median() != 1 || (Sample{}).Median() != 0 {
		t.Error("the median of two is the lower, of none 0")
	}
}
