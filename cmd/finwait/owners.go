package main

import (
	"context"
	"fmt"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp/cgroup"
)

// stageOwners is the stage of the ledger of a gateway that tells owners.
const stageOwners = "owners"

// owners names whoever connections belong to; nil where nobody asks.
type owners struct{ names *cgroup.Names }

// openOwners begins to name owners in what tells of records.
func openOwners(names *api.Names) *owners {
	o := &owners{cgroup.Open()}
	names.TellOwners(o.names.Name)
	return o
}

// sighted is what a table tells of owners; nil where nobody asks.
func (o *owners) sighted() flowtable.Owners {
	if o == nil {
		return nil
	}
	return o.names
}

func (o *owners) run(ctx context.Context) error {
	o.names.Run(ctx)
	return nil
}

func (o *owners) fact() string {
	if where := o.names.Where(); where != "" {
		return fmt.Sprintf("owners: control groups below %q, names of up to %d MiB kept", where, cgroup.Room>>20)
	}
	return "owners: the numbers of control groups"
}

func (o *owners) ledger() []api.LedgerEntry {
	s := o.names.Stats()
	return []api.LedgerEntry{
		{Stage: stageOwners, Reason: "named", Count: s.Named.Load()},
		{Stage: stageOwners, Reason: "unnamed", Count: s.Unnamed.Load()},
		{Stage: stageOwners, Reason: "names_forgotten", Count: s.Forgotten.Load(), Loss: true},
	}
}
