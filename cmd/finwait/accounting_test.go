package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/finwait/finwait/flowtable"
)

// TestAccountingRefuses what is no way of accounting, by name.
func TestAccountingRefuses(t *testing.T) {
	for _, command := range [][]string{{"run", "--interface", "none0"}, {"lab"}} {
		status, _, stderr := finwait(append(command, "--accounting", "guess")...)
		if status != 2 || !strings.Contains(stderr, `--accounting "guess"`) {
			t.Errorf("%q: status %d: %s", command, status, stderr)
		}
	}
}

// TestSequenceTimeouts: nobody sees data by sequence, so that idle is not what
// it seems, unless the user says how long it may seem so.
func TestSequenceTimeouts(t *testing.T) {
	for _, test := range []struct {
		args []string
		want time.Duration
	}{
		{nil, sequenceIdle}, {[]string{"--idle-timeout", "1h"}, time.Hour}, {[]string{"--idle-timeout", "0"}, 0},
	} {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		timeouts := addTimeoutFlags(flags, flowtable.LiveTimeouts())
		if err := flags.Parse(test.args); err != nil {
			t.Fatal(err)
		}
		validated, err := timeouts.validated()
		if err != nil {
			t.Fatal(err)
		}
		if got := timeouts.forSequence(validated); got.Established != test.want || got.Opening != validated.Opening || got.Active != validated.Active {
			t.Errorf("%q: %+v, want %v", test.args, got, test.want)
		}
	}
}
