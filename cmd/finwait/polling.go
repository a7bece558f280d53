package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/finwait/finwait/flowtable/worker"
)

// maxNap bounds --nap: at more, a receive ring can fill meanwhile.
const maxNap = 10 * time.Millisecond

// pollingFlags say how workers wait for segments.
type pollingFlags struct {
	spin, nap time.Duration
	busy      bool
}

func addPollingFlags(flags *pflag.FlagSet) *pollingFlags {
	f := new(pollingFlags)
	preset := worker.DefaultPolling()
	flags.DurationVar(&f.spin, "spin", preset.Spin, "for how long a worker without segments looks again and again before it sleeps")
	flags.DurationVar(&f.nap, "nap", preset.Nap, "how long a worker sleeps at most after a batch that was not full, so that the next one is fuller; 0 for being woken by each")
	flags.BoolVar(&f.busy, "busy-poll", false, "never sleep, and empty the NIC's queues without interrupts (takes a whole CPU per queue)")
	return f
}

func (f *pollingFlags) validated() (worker.Polling, error) {
	switch {
	case f.spin < 0:
		return worker.Polling{}, usageError{fmt.Errorf("--spin %v: choose 0 or more, or --busy-poll for never sleeping", f.spin)}
	case f.nap < 0 || f.nap > maxNap:
		return worker.Polling{}, usageError{fmt.Errorf("--nap %v: choose 0 to %v", f.nap, maxNap)}
	case f.busy:
		return worker.Polling{Spin: -1}, nil
	}
	return worker.Polling{Spin: f.spin, Nap: f.nap}, nil
}
