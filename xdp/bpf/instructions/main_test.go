package main

import (
	"bytes"
	"regexp"
	"testing"
)

// TestList: every program has a line with a number.
func TestList(t *testing.T) {
	var out bytes.Buffer
	if err := list(&out, "../tap_bpfel.o"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"finwait_tap", "finwait_sequence", "finwait_idle", "finwait_walk"} {
		if !regexp.MustCompile(`(?m): ` + name + `: [1-9]\d* instructions$`).MatchString(out.String()) {
			t.Errorf("no line of %q in:\n%s", name, out.String())
		}
	}
	if err := list(&out, "main.go"); err == nil {
		t.Error("a source file was read as an object")
	}
}
