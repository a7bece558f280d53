package main

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"
)

// Every question is answered beside the worker, and gives its two results.
func TestBenchQueries(t *testing.T) {
	status, stdout, stderr := finwait("bench", "queries", "--recent", "20k", "--flows", "20k", "--rounds", "1", "--turn", "20ms", "--rate", "100", "--answers", "10")
	if status != 0 {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	for _, q := range questions {
		for _, part := range []string{"answer", "worker"} {
			if !strings.Contains(stdout, "BenchmarkQueries/question="+q.name+"/"+part) {
				t.Errorf("no %s of %s in\n%s", part, q.name, stdout)
			}
		}
	}
	for _, arguments := range [][]string{{"--recent", "0"}, {"--flows", "x"}, {"--rounds", "0"}, {"--turn", "1ns"}, {"--rate", "0"}, {"--answers", "0"}, {"--questions", "fame"}, {"--questions", ""}} {
		if status, _, stderr := finwait(append([]string{"bench", "queries"}, arguments...)...); status != exitUsage || !strings.Contains(stderr, arguments[0]) {
			t.Errorf("%v: exit status %d, %s", arguments, status, stderr)
		}
	}
}

// A turn that is shorter than the time between questions has one, a longer one as
// many as fit, and those of late answers at once.
func TestQuestionsOfTurns(t *testing.T) {
	for _, c := range []struct {
		length         time.Duration
		rate, turns    int
		answers        int
		within, asking time.Duration
	}{
		{10 * time.Millisecond, 20, 3, 3, 30 * time.Millisecond, 150 * time.Millisecond},
		{30 * time.Millisecond, 100, 2, 6, 60 * time.Millisecond, 60 * time.Millisecond},
		{25 * time.Millisecond, 50, 4, 5, 100 * time.Millisecond, 100 * time.Millisecond},
	} {
		var u turns
		for range c.turns {
			if err := u.askAt(t.Context(), func(context.Context) error { return nil }, c.rate, c.length); err != nil {
				t.Fatal(err)
			}
		}
		if u.answers != c.answers || u.within < c.within || u.asking < c.asking || u.part() > 1.01*float64(c.within)/float64(c.asking) && c.within == c.asking {
			t.Errorf("turns of %v, %d a second: %d answers in %v of %v; want %d in %v of %v", c.length, c.rate, u.answers, u.within, u.asking, c.answers, c.within, c.asking)
		}
	}
}

// The loss is that of all turns together, and its error that of pairs that differ.
func TestLossOfTurns(t *testing.T) {
	var steady, unsteady turns
	for i := range 10 {
		quiet := 100 + 50*float64(i%5) // a machine that is fast at times
		steady.quiet, steady.asked = append(steady.quiet, speed{own: quiet}), append(steady.asked, speed{own: 0.9 * quiet})
		unsteady.quiet, unsteady.asked = append(unsteady.quiet, speed{elapsed: 100}), append(unsteady.asked, speed{elapsed: 80 + 20*float64(i%2)})
	}
	if loss, off := steady.lossOf(ownOf); math.Abs(loss-0.1) > 1e-9 || off > 1e-9 {
		t.Errorf("loss %v, error %v; want 0.1 and none", loss, off)
	}
	// Where a turn stands for twice its time, half is lost.
	steady.within, steady.asking = time.Second, 2*time.Second
	if loss, _ := steady.lossOf(ownOf); math.Abs(loss-0.05) > 1e-9 {
		t.Errorf("loss %v of turns that stand for twice their time; want 0.05", loss)
	}
	// Half of them lose a fifth: the deviation of ten is 10 of 100, by the root of 9.
	if loss, off := unsteady.lossOf(elapsedOf); math.Abs(loss-0.1) > 1e-9 || math.Abs(off-0.1/3) > 1e-9 {
		t.Errorf("loss %v, error %v; want 0.1 and 0.0333", loss, off)
	}
}
