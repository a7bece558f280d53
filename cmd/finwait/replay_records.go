package main

import (
	"context"

	"github.com/finwait/finwait/api/export"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/worker"
)

// recordWriter takes the records of a replay's table to a summary, and to an
// output where there is one. An output is written by a goroutine of its own; a
// summary alone takes less time than handing records over would.
type recordWriter struct {
	records flowtable.Records
	start   func()       // before the first record
	flush   func()       // when no record may come for a while
	finish  func() error // behind the last
}

// newRecordWriter writes to an output, nil for none. Where that takes no more,
// nothing is left to do: it cancels the replay.
func newRecordWriter(summary *export.Summary, output export.Sink, cancel context.CancelCauseFunc) recordWriter {
	if output == nil {
		return recordWriter{
			records: &summarized{summary: summary},
			start:   func() {},
			flush:   func() {},
			finish:  func() error { return nil },
		}
	}
	records := worker.NewReplayRecords()
	written := make(chan error, 1)
	return recordWriter{
		records: records,
		start:   func() { go func() { written <- writeRecords(records.Deliver, summary, output, cancel) }() },
		flush:   records.Flush,
		finish: func() error {
			records.Close()
			return <-written
		},
	}
}

// summarized is the records of which nothing but the summary is wanted.
type summarized struct {
	summary *export.Summary
	record  [1]flowtable.Record
}

var _ flowtable.Records = (*summarized)(nil)

// Next implements flowtable.Records; it is never nil.
func (s *summarized) Next() *flowtable.Record { return &s.record[0] }

// Commit implements flowtable.Records.
func (s *summarized) Commit() { _ = s.summary.Write(s.record[:]) } // never an error

// writeRecords writes what publish delivers to the output and the summary.
func writeRecords(publish func(deliver func([]flowtable.Record)), summary *export.Summary, output export.Sink, cancel context.CancelCauseFunc) error {
	var failed error
	publish(func(records []flowtable.Record) {
		_ = summary.Write(records) // never an error
		if failed != nil {
			return
		}
		if failed = output.Write(records); failed != nil {
			cancel(failed)
		}
	})
	if failed != nil {
		return failed
	}
	return output.Close()
}
