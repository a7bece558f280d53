package main

import (
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
