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
	flags     *pflag.FlagSet
	spin, nap time.Duration
	busy      bool
}

// presetPolling is how workers wait where nobody says so. A gateway's rings hold more.
func presetPolling(gateway bool) worker.Polling {
	if gateway {
		return worker.DeepPolling()
	}
	return worker.DefaultPolling()
}

func addPollingFlags(flags *pflag.FlagSet) *pollingFlags {
	f := &pollingFlags{flags: flags}
	preset := worker.DefaultPolling()
	flags.DurationVar(&f.spin, "spin", preset.Spin, "for how long a worker without segments looks again and again before it sleeps")
	flags.DurationVar(&f.nap, "nap", preset.Nap, "how long a worker sleeps at most after a batch that was not full, so that the next one is fuller; 0 for being woken by each, on a gateway for 10ms, as where none is given")
	flags.BoolVar(&f.busy, "busy-poll", false, "never sleep, and empty the NIC's queues without interrupts (takes a whole CPU per queue)")
	return f
}

func (f *pollingFlags) validated(gateway bool) (worker.Polling, error) {
	p := presetPolling(gateway)
	switch {
	case f.spin < 0:
		return worker.Polling{}, usageError{fmt.Errorf("--spin %v: choose 0 or more, or --busy-poll for never sleeping", f.spin)}
	case f.nap < 0 || f.nap > maxNap:
		return worker.Polling{}, usageError{fmt.Errorf("--nap %v: choose 0 to %v", f.nap, maxNap)}
	case f.busy:
		return worker.Polling{Spin: -1}, nil
	}
	if p.Spin = f.spin; f.flags.Changed("nap") {
		p.Nap = f.nap
	}
	return p, nil
}
