package main

import (
	"math"
	"strings"
	"testing"
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
	// Half of them lose a fifth: the deviation of ten is 10 of 100, by the root of 9.
	if loss, off := unsteady.lossOf(elapsedOf); math.Abs(loss-0.1) > 1e-9 || math.Abs(off-0.1/3) > 1e-9 {
		t.Errorf("loss %v, error %v; want 0.1 and 0.0333", loss, off)
	}
}
