package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// TestBenchProgram: every program and every ratio is in the results, with both
// kinds of keys.
func TestBenchProgram(t *testing.T) {
	needRoot(t)
	var out, errs bytes.Buffer
	cmd := newBenchProgramCommand()
	cmd.SetArgs([]string{"--flows", "1000", "--frames", "1k", "--rounds", "2", "--format", "json"})
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	if !json.Valid(out.Bytes()) {
		t.Fatalf("no JSON: %s", out.String())
	}
	for _, keys := range []string{"hot", "random-1024"} {
		for _, name := range []string{"empty", "parse", "sequence", "minimal", "counted", "front", "counted-over-minimal", "sequence-over-parse"} {
			if want := "\"Program/keys=" + keys + "/" + name + "\""; !strings.Contains(out.String(), want) {
				t.Errorf("the results lack %s", want)
			}
		}
	}
}

// TestBenchProgramRefuses what cannot be measured, by name.
func TestBenchProgramRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"--flows", "0"}, {"--flows", "many"}, {"--flows", "17M"}, {"--frames", "1"}, {"--rounds", "0"}, {"--format", "xml"}, {"more"},
	} {
		cmd := newBenchProgramCommand()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(args)
		var usage usageError
		if err := cmd.Execute(); !errors.As(err, &usage) || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
