package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// UsualLag is a Plan's MaxLag where nothing asks for another: well below what a
// target's queues make of an uneven load, and above what a scheduler does.
const UsualLag = 20 * time.Millisecond

// Verdict is what a step says of the target.
type Verdict uint8

// The verdicts.
const (
	Held           Verdict = iota // the target bore the rate within all limits
	Exceeded                      // it did not
	GeneratorBound                // nothing: the load, or what saw it, was not as it should have been
)

func (v Verdict) String() string { return [...]string{"held", "exceeded", "generator_bound"}[v] }

// Step is one rate.
type Step struct {
	Rate    float64 // connections a second
	Counts  Counts
	Wire    Wire
	Verdict Verdict
	Reasons []string // for a verdict other than Held
}

// Plan is the steps of a search.
type Plan struct {
	Rates    []float64 // connections a second, ascending
	WarmUp   time.Duration
	Duration time.Duration // that is measured
	Limits   []Limit
	// MaxLag is the 99th percentile of the lag from which on the load was not
	// what it should have been, and a step is generator-bound.
	MaxLag time.Duration
}

// Validate finds what cannot be carried out with a configuration.
func (p *Plan) Validate(c *Config) error {
	if len(p.Rates) == 0 {
		return errors.New("at least one rate is needed")
	}
	for i, r := range p.Rates {
		if i > 0 && r <= p.Rates[i-1] {
			return fmt.Errorf("rate %v after %v: rates must ascend", r, p.Rates[i-1])
		}
	}
	if p.Rates[0]*p.Duration.Seconds() < 1 {
		return fmt.Errorf("rate %v for %v: not one connection would be measured; choose a longer time", p.Rates[0], p.Duration)
	}
	for _, l := range p.Limits {
		if !l.appliesTo(c.Close) {
			return fmt.Errorf("limit %q: a connection that is reset has no %v; choose connect, failures or rate", l, l.wave)
		}
	}
	if p.MaxLag <= 0 {
		return fmt.Errorf("greatest lag %v: it must be more than 0, such as %v", p.MaxLag, UsualLag)
	}
	highest := p.Rates[len(p.Rates)-1]
	if held := highest * c.Hold.Seconds(); held > float64(c.MaxConcurrent) {
		return fmt.Errorf("rate %v with a hold of %v: %.0f connections would be open at once, %d may be; raise the maximum, or lower rate or hold",
			highest, c.Hold, held, c.MaxConcurrent)
	}
	return nil
}

// Search takes one step after the other until one does not hold, and tells
// report of each. A step that was interrupted is not among them.
func Search(ctx context.Context, g *Generator, p Plan, o Observer, report func(*Step)) ([]Step, error) {
	if err := p.Validate(&g.config); err != nil {
		return nil, err
	}
	var steps []Step
	for _, r := range p.Rates {
		step := Step{Rate: r}
		if err := o.Start(); err != nil {
			return steps, err
		}
		var err, ended error
		step.Counts, err = g.Run(ctx, Rate{PerSecond: r, WarmUp: p.WarmUp, Duration: p.Duration}, o.Measure)
		step.Wire, ended = o.Finish()
		if err := errors.Join(err, ended); err != nil {
			return steps, err
		}
		step.judge(&p)
		steps = append(steps, step)
		report(&steps[len(steps)-1])
		if step.Verdict != Held {
			break
		}
	}
	return steps, nil
}

// Highest returns the highest step that held, nil for none.
func Highest(steps []Step) *Step {
	var highest *Step
	for i := range steps {
		if steps[i].Verdict == Held {
			highest = &steps[i]
		}
	}
	return highest
}

// judge sets the verdict. What is the generator's fault comes first: such a
// step is never the target's limit. But a target with which no connection comes
// about does not owe that to a generator that was late.
func (s *Step) judge(p *Plan) {
	ours := s.ownFaults(p.MaxLag)
	var passed []string
	if s.Counts.Abandoned {
		passed = append(passed, fmt.Sprintf("every connection of the last %d failed (%v)", hopeless, s.worst()))
	}
	lag := s.lag()
	for _, l := range p.Limits {
		found := l.exceeded(s)
		if found == "" {
			continue
		}
		passed = append(passed, found)
		if l.share == noShare && lag > l.time && lag <= p.MaxLag {
			// Connections that are opened late come in a heap, and a heap
			// takes about as long to be served as it was late.
			ours = append(ours, fmt.Sprintf("the generator was late: %v at the 99th percentile, more than %v in which waves are judged; "+
				"use more threads or a larger machine", lag, l.time))
		}
	}
	switch {
	case s.Counts.Abandoned:
		s.Verdict, ours = Exceeded, nil
	case len(ours) > 0:
		s.Verdict = GeneratorBound
	case len(passed) > 0:
		s.Verdict = Exceeded
	}
	s.Reasons = append(ours, passed...)
}

// lag is the 99th percentile.
func (s *Step) lag() time.Duration { return time.Duration(s.Counts.Lag.ValueAtQuantile(99)) }

// worst is the target's failure that is seen most.
func (s *Step) worst() Failure {
	worst := Refused
	for f := range Failure(Failures) {
		if !f.ours() && s.Counts.AllFailures[f] > s.Counts.AllFailures[worst] {
			worst = f
		}
	}
	return worst
}

func (s *Step) ownFaults(maxLag time.Duration) []string {
	var faults []string
	c := &s.Counts
	if n := c.Failures[NoLocalPort]; n > 0 {
		faults = append(faults, fmt.Sprintf("%d connections found no local port: those that we close stay in TIME-WAIT for 60 s; "+
			"add source addresses or ports, let the server close, or use TCP time stamps at both ends", n))
	}
	if n := c.Failures[NoSlot]; n > 0 {
		faults = append(faults, fmt.Sprintf("%d connections were not opened, since as many as may be were open; allow more at once", n))
	}
	if lag := s.lag(); lag > maxLag {
		faults = append(faults, fmt.Sprintf("the generator was late: %v at the 99th percentile, more than %v; use more threads or a larger machine", lag, maxLag))
	}
	if !c.Abandoned && c.Missed > 0 {
		faults = append(faults, fmt.Sprintf("the generator did not open %d connections that were due", c.Missed))
	}
	if n := s.Wire.Lost; n > 0 {
		faults = append(faults, fmt.Sprintf("%d frames or records were lost on this machine, so that not every time is known", n))
	}
	return faults
}
