package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/finwait/finwait/flowtable"
)

// leastLinger stands for a linger of 0: a table takes 0 for never, and the
// record of a closed connection must come.
const leastLinger = time.Millisecond

// timeoutFlags are the flags that set flowtable.Timeouts.
type timeoutFlags struct {
	flags    *pflag.FlagSet
	timeouts flowtable.Timeouts
}

func addTimeoutFlags(flags *pflag.FlagSet, defaults flowtable.Timeouts) *timeoutFlags {
	t := &timeoutFlags{flags: flags, timeouts: defaults}
	flags.DurationVar(&t.timeouts.Established, "idle-timeout", defaults.Established,
		"end an established or half-closed connection that is idle so long; 0 switches all idle timeouts off")
	flags.DurationVar(&t.timeouts.Opening, "opening-timeout", defaults.Opening, "end a connection that is idle so long before it is established; 0 means never")
	flags.DurationVar(&t.timeouts.Closing, "closing-timeout", defaults.Closing, "end a connection that is idle so long with FINs not acknowledged; 0 means never")
	flags.DurationVar(&t.timeouts.Active, "active-timeout", defaults.Active, "write a slice of a longer connection this often; 0 means never")
	flags.DurationVar(&t.timeouts.Linger, "linger", defaults.Linger, "keep a closed connection so long for late segments; its record is written then")
	return t
}

// validated returns the timeouts that the flags ask for.
func (t *timeoutFlags) validated() (flowtable.Timeouts, error) {
	for _, name := range []string{"idle-timeout", "opening-timeout", "closing-timeout", "active-timeout", "linger"} {
		if d, err := t.flags.GetDuration(name); err != nil || d < 0 {
			return flowtable.Timeouts{}, usageError{fmt.Errorf("--%s %v: a duration of 0 or more is needed, such as 30s or 5m", name, d)}
		}
	}
	out := t.timeouts
	out.Linger = max(out.Linger, leastLinger)
	if t.flags.Changed("idle-timeout") && out.Established == 0 {
		for name, d := range map[string]*time.Duration{"opening-timeout": &out.Opening, "closing-timeout": &out.Closing} {
			if !t.flags.Changed(name) {
				*d = 0
			}
		}
	}
	return out, nil
}
