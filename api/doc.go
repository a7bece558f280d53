// Package api is where records leave the appliance: their JSON form, the ring
// of recent ones, and the HTTP server that answers questions about them.
//
// Terms. A flow is the JSON form of one flowtable.Record, with the names and
// meanings of the record's contract. A history answers questions about
// connections that are over; Recent is the one in memory. A live view answers
// them about connections that are still followed. The ledger is the list of
// everything that was counted or lost, each with a reason.
//
// Ownership. Records handed to a writer stay the caller's and are valid during
// the call only. Recent has one writer and any number of readers. A Server, and
// everything it reads through (History, Live, the functions in Config), is used
// from many goroutines at once. Names is read-only once made and may be shared.
package api
