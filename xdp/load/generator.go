package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// hopeless is after how many connections that failed, with none between
	// them that was established, a step is given up.
	hopeless = 100
	// maxRate is more than any kernel opens.
	maxRate = 10_000_000
)

// Rate is one step's load.
type Rate struct {
	PerSecond float64 // connections
	WarmUp    time.Duration
	Duration  time.Duration // that is measured
}

// Window is the measured time of a step, in ns of CLOCK_MONOTONIC; To is
// excluded.
type Window struct{ From, To int64 }

func (w Window) contains(at int64) bool { return at >= w.From && at < w.To }

// overlap is how many ns of a time lie within.
func (w Window) overlap(from, to int64) int64 {
	return max(0, min(to, w.To)-max(from, w.From))
}

// Generator opens and closes connections.
type Generator struct {
	config  Config
	threads []*thread
	shared  shared
}

// shared is what threads have in common.
type shared struct {
	stop     atomic.Bool   // open nothing more, and let go of what is open
	failures atomic.Int64  // since the last connection that was established
	open     atomic.Int64  // established connections
	peak     atomic.Int64  // of open, within the window
	opened   atomic.Uint64 // connections of all steps
}

// New validates a configuration and makes the threads' memory. Nothing is
// opened.
func New(c Config) (*Generator, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	g := &Generator{config: c}
	low, left := int(c.LowPort), int(c.HighPort)-int(c.LowPort)+1
	if left < c.Threads {
		return nil, fmt.Errorf("source ports %d to %d for %d threads: choose a port for each at least", c.LowPort, c.HighPort, c.Threads)
	}
	slots := c.MaxConcurrent
	for i := range c.Threads {
		remaining := c.Threads - i
		count, own := left/remaining, slots/remaining
		t, err := newThread(&g.config, &g.shared, low, count, own)
		if err != nil {
			return nil, err
		}
		g.threads = append(g.threads, t)
		low, left, slots = low+count, left-count, slots-own
	}
	return g, nil
}

// Opened is the connections that were opened so far, in all steps. It may be
// called from any goroutine.
func (g *Generator) Opened() uint64 { return g.shared.opened.Load() }

// Run runs one step and returns when all of its connections are over, each
// of them bounded by Config.Timeout. It tells measure, before the first
// connection, which time will be measured. When ctx ends, what is open is
// reset, and the error is ctx's.
func (g *Generator) Run(ctx context.Context, r Rate, measure func(Window)) (Counts, error) {
	if r.PerSecond <= 0 || r.PerSecond > maxRate {
		return Counts{}, fmt.Errorf("rate %v: choose more than 0 and at most %d connections a second", r.PerSecond, maxRate)
	}
	if r.WarmUp < 0 || r.Duration <= 0 {
		return Counts{}, fmt.Errorf("warm-up %v, duration %v: the first cannot be negative, the second must be more than 0", r.WarmUp, r.Duration)
	}
	begin := monotonic() + int64(time.Millisecond)
	plan := plan{
		begin:    begin,
		window:   Window{begin + int64(r.WarmUp), begin + int64(r.WarmUp+r.Duration)},
		interval: float64(time.Second) / r.PerSecond,
		strides:  len(g.threads),
	}
	measure(plan.window)
	s := &g.shared
	s.stop.Store(false)
	s.failures.Store(0)
	s.peak.Store(0)
	defer context.AfterFunc(ctx, func() { s.stop.Store(true) })()
	err := g.runThreads(plan)
	total := g.total(plan.window)
	if ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return total, err
}

// total joins what the threads counted.
func (g *Generator) total(w Window) Counts {
	total := Counts{Lag: newLag(), Peak: g.shared.peak.Load(), Abandoned: g.shared.failures.Load() >= hopeless}
	ended := w.To
	for _, t := range g.threads {
		total.add(&t.counts)
		ended = min(ended, t.ended)
	}
	total.Measured = time.Duration(w.overlap(w.From, ended))
	if total.Mean /= float64(total.Measured); total.Measured == 0 {
		total.Mean = 0
	}
	return total
}

// runThreads returns when every thread has ended; one that cannot go on stops
// the others.
func (g *Generator) runThreads(p plan) error {
	var wait sync.WaitGroup
	problems := make([]error, len(g.threads))
	for i, t := range g.threads {
		wait.Go(func() {
			own := p
			own.first = i
			run := func() error { return t.run(own) }
			if g.config.Within != nil {
				problems[i] = g.config.Within(run)
			} else {
				problems[i] = run()
			}
			if problems[i] != nil {
				g.shared.stop.Store(true)
			}
		})
	}
	wait.Wait()
	return errors.Join(problems...)
}

// failed notes a failure by the target; too many in a row end the step.
func (s *shared) failed() {
	if s.failures.Add(1) >= hopeless {
		s.stop.Store(true)
	}
}

// established notes a connection; peak is of those within the window.
func (s *shared) established(measured bool) {
	if s.failures.Load() < hopeless {
		s.failures.Store(0)
	}
	if n := s.open.Add(1); measured {
		s.notePeak(n)
	}
}

// notePeak notes connections that were established at once within the window.
func (s *shared) notePeak(n int64) {
	for peak := s.peak.Load(); n > peak && !s.peak.CompareAndSwap(peak, n); {
		peak = s.peak.Load()
	}
}
