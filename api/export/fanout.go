package export

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/finwait/finwait/flowtable"
)

// Branch is one sink of a fan-out, with the name that its failures go by.
type Branch struct {
	Name string
	Sink Sink
}

// Fanout hands every batch to each of its sinks in turn. What one of them does
// not take is counted, and the others get it all the same. A sink that failed
// is tried again with the next batch.
type Fanout struct {
	branches []*branch
	report   func(name string, err error)
}

// branch is a sink and what was lost there.
type branch struct {
	Branch
	failures atomic.Uint64 // batches that returned an error
	lost     atomic.Uint64 // records in them
	first    error         // the publisher's own
}

// Failures is what one sink of a fan-out did not take since the start.
type Failures struct {
	Name    string
	Batches uint64 // calls of Write that returned an error
	Records uint64 // records in those calls
}

// NewFanout makes a fan-out. report is called with the first error of each
// sink, from the publisher's goroutine; nil reports nothing.
func NewFanout(report func(name string, err error), branches ...Branch) *Fanout {
	if report == nil {
		report = func(string, error) {}
	}
	f := &Fanout{report: report}
	for _, b := range branches {
		f.branches = append(f.branches, &branch{Branch: b})
	}
	return f
}

// Write hands records to every sink. It always returns nil: the failures are
// reported, counted, and returned by Close.
func (f *Fanout) Write(records []flowtable.Record) error {
	for _, b := range f.branches {
		if err := b.Sink.Write(records); err != nil {
			b.lost.Add(uint64(len(records)))
			b.failures.Add(1)
			f.note(b, err)
		}
	}
	return nil
}

// Close closes every sink and returns the first error of each, of writing or
// of closing.
func (f *Fanout) Close() error {
	var errs []error
	for _, b := range f.branches {
		if err := b.Sink.Close(); err != nil {
			f.note(b, err)
		}
		if b.first != nil {
			errs = append(errs, fmt.Errorf("sink %q: %w", b.Name, b.first))
		}
	}
	return errors.Join(errs...)
}

// Failures lists what each sink did not take, for the ledger. It may be called
// from any goroutine.
func (f *Fanout) Failures() []Failures {
	failures := make([]Failures, len(f.branches))
	for i, b := range f.branches {
		failures[i] = Failures{Name: b.Name, Batches: b.failures.Load(), Records: b.lost.Load()}
	}
	return failures
}

func (f *Fanout) note(b *branch, err error) {
	if b.first == nil {
		b.first = err
		f.report(b.Name, err)
	}
}
