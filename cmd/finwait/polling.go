package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/finwait/finwait/flowtable/worker"
)

// These bound --nap: at more, a receive ring can fill meanwhile.
const (
	maxNap        = 10 * time.Millisecond
	maxGatewayNap = 50 * time.Millisecond
)

// pollingFlags say how workers wait for segments.
type pollingFlags struct {
	flags     *pflag.FlagSet
	spin, nap time.Duration
	busy      bool
}

// ownersNap is how long a gateway's worker sleeps at most that tells of owners, which
// may be gone soon.
const ownersNap = 10 * time.Millisecond

// presetPolling is how workers wait where nobody says so. A gateway's rings hold more.
func presetPolling(gateway, owners bool) worker.Polling {
	if !gateway {
		return worker.DefaultPolling()
	}
	p := worker.DeepPolling()
	if owners {
		p.Nap, p.Rest = ownersNap, ownersNap
	}
	return p
}

func addPollingFlags(flags *pflag.FlagSet) *pollingFlags {
	f := &pollingFlags{flags: flags}
	preset := worker.DefaultPolling()
	flags.DurationVar(&f.spin, "spin", preset.Spin, "for how long a worker without segments looks again and again before it sleeps")
	flags.DurationVar(&f.nap, "nap", preset.Nap, "how long a worker sleeps at most after a batch that was not full, so that the next one is fuller; 0 for being woken by each. On a gateway, which nobody wakes, 25ms where none is given, with --owners 10ms, and 0 for 10ms")
	flags.BoolVar(&f.busy, "busy-poll", false, "never sleep, and empty the NIC's queues without interrupts (takes a whole CPU per queue)")
	return f
}

func (f *pollingFlags) validated(gateway, owners bool) (worker.Polling, error) {
	p, most := presetPolling(gateway, owners), maxNap
	if gateway {
		most = maxGatewayNap
	}
	switch {
	case f.spin < 0:
		return worker.Polling{}, usageError{fmt.Errorf("--spin %v: choose 0 or more, or --busy-poll for never sleeping", f.spin)}
	case f.nap < 0 || f.nap > most:
		return worker.Polling{}, usageError{fmt.Errorf("--nap %v: choose 0 to %v", f.nap, most)}
	case f.busy:
		return worker.Polling{Spin: -1}, nil
	}
	if p.Spin = f.spin; f.flags.Changed("nap") {
		p.Nap = f.nap
		if gateway {
			p.Rest = f.nap
		}
	}
	return p, nil
}
