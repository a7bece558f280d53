package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// Accounts is where the counters of data segments are kept while a connection
// is followed: the kernel's flow table. A capture has none, its segments are
// all counted by the table itself.
//
// counters[i] belongs to keys[i] and is zero where there is no entry. Both
// slices are the caller's; at most AccountsBatch keys go into one call.
// An error means that some counters are not known.
type Accounts interface {
	// Peek reads entries and leaves them. It may be called from any goroutine.
	Peek(keys []segment.Key, counters []segment.Counters) error
	// Take reads entries and deletes them.
	Take(keys []segment.Key, counters []segment.Counters) error
}

// AccountsBatch is the most keys that one call of Accounts takes.
const AccountsBatch = 64
