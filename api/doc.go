// Package api is the language in which the appliance is asked and answers: the
// JSON form of a record, the shapes of every other answer, and the names that a
// record leaves out.
//
// Terms. A flow is the JSON form of one flowtable.Record, with the names and
// meanings of the record's contract. The ledger is the list of everything that
// was counted or lost, each with a reason.
//
// The package neither keeps records nor serves anything: api/history keeps
// them, api/query asks them, api/server speaks HTTP. Names is read-only once
// made and may be shared; everything else is a value.
package api
