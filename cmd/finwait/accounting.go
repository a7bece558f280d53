package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/finwait/finwait/flowtable"
)

// sequenceIdle is the idle timeout of established connections by sequence:
// nobody sees their data, so that most of those that seem idle are not.
const sequenceIdle = 24 * time.Hour

// addAccountingFlag adds --accounting; see isSequence.
func addAccountingFlag(flags *pflag.FlagSet) *string {
	return flags.String("accounting", accountingCounted,
		"counted: the kernel counts every segment of every connection; sequence: octets from sequence numbers of control segments alone, which is faster")
}

// isSequence tells what --accounting asks for.
func isSequence(accounting string) (bool, error) {
	switch accounting {
	case accountingCounted:
		return false, nil
	case accountingSequence:
		return true, nil
	default:
		return false, usageError{fmt.Errorf("--accounting %q: choose %s or %s", accounting, accountingCounted, accountingSequence)}
	}
}

// forSequence returns the timeouts for accounting by sequence: those that were
// asked for, and others where the defaults would end what goes on.
func (t *timeoutFlags) forSequence(timeouts flowtable.Timeouts) flowtable.Timeouts {
	if !t.flags.Changed("idle-timeout") {
		timeouts.Established = sequenceIdle
	}
	return timeouts
}
