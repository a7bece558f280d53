// Package metrics is what Prometheus reads of an appliance.
//
// Terms. Connections counts the records that are published: a sink of the
// publisher, which keeps histograms and counters. Everything else is read where
// it is counted, once per scrape, by functions in Config: the ledger, the flow
// table, the workers, the sinks, the HTTP server.
//
// Names follow Prometheus: seconds, bytes, _total. Every label has few values
// that no sender of segments can add to: addresses and ports are questions for
// the API.
//
// Ownership. The publisher's goroutine calls Write; it allocates nothing for a
// record and waits for nobody but a scrape that copies what was counted, half a
// megabyte at most. Handler serves any number of goroutines, and no scrape stops a
// worker.
package metrics
