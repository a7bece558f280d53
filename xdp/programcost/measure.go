package programcost

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf"
)

// Sizes where a Config says nothing.
const (
	DefaultFlows  = 1 << 20
	DefaultRounds = 15
	DefaultFrames = 1 << 18

	// MaxFlows bounds Config.Flows: what 24 bits of a source address tell apart.
	MaxFlows = 1 << 24
)

// Config is what to measure.
type Config struct {
	// Flows is the number of flows among which random keys are drawn, a power
	// of two; 0 for DefaultFlows.
	Flows int
	// Rounds is how often every program is timed, all of them in turn; 0 for
	// DefaultRounds.
	Rounds int
	// Frames is how many frames are timed at once; 0 for DefaultFrames.
	Frames int
	// Timed is called after each of Timings; it may be nil.
	Timed func()
}

// Timings is how often Timed is called.
func (c Config) Timings() int {
	c.complete()
	return c.Rounds * int(programs) * int(keysOf)
}

func (c *Config) complete() {
	for field, otherwise := range map[*int]int{&c.Flows: DefaultFlows, &c.Rounds: DefaultRounds, &c.Frames: DefaultFrames} {
		if *field == 0 {
			*field = otherwise
		}
	}
}

func (c *Config) validate() error {
	c.complete()
	switch {
	case c.Flows < 1 || c.Flows > MaxFlows || bits.OnesCount(uint(c.Flows)) != 1:
		return fmt.Errorf("%d flows: a power of two from 1 to %d is needed", c.Flows, MaxFlows)
	case c.Rounds < 1:
		return fmt.Errorf("%d rounds: at least one is needed", c.Rounds)
	case c.Frames < 2:
		return fmt.Errorf("%d frames at once: two are needed at least, since the time between them is taken", c.Frames)
	}
	return nil
}

// Keys says how the frames' flows follow one another.
type Keys int

// Both are data segments that carry 1000 octets and go on in sequence.
const (
	Hot    Keys = iota // always the same flow
	Random             // any of Config.Flows
	keysOf
)

func (k Keys) String() string { return [...]string{"hot", "random"}[k] }

// Cost is what one program costs with one kind of keys.
type Cost struct {
	Program Program
	Keys    Keys
	// NS is ns per frame, one for each round. It includes what the kernel
	// takes for running a program (the loop of BPF_PROG_RUN), and not the front.
	NS Sample
}

// Result is what was measured.
type Result struct {
	Flows  int
	Costs  []Cost // of every program, hot ones first
	Fronts [keysOf]Sample
}

// Cost returns one of Costs.
func (r *Result) Cost(p Program, k Keys) *Cost {
	return &r.Costs[int(k)*int(programs)+int(p)]
}

// Ratio compares two costs, each above a third: (p - floor) / (q - floor), of
// each round.
func (r *Result) Ratio(p, q, floor Program, k Keys) Sample {
	above, below := r.Cost(p, k).NS, r.Cost(q, k).NS
	var s Sample
	for round, ns := range r.Cost(floor, k).NS {
		s = append(s, (above[round]-ns)/(below[round]-ns))
	}
	return s
}

// Times compares the times of two programs, p / q, of each round.
func (r *Result) Times(p, q Program, k Keys) Sample {
	var s Sample
	for round, ns := range r.Cost(q, k).NS {
		s = append(s, r.Cost(p, k).NS[round]/ns)
	}
	return s
}

// Sample is one figure as it came out in each round.
type Sample []float64

// Median is the middle one, the lower of two.
func (s Sample) Median() float64 { return s.quantile(1, 2) }

// Quartiles are the values below and above which a quarter of the rounds lies.
func (s Sample) Quartiles() (low, high float64) { return s.quantile(1, 4), s.quantile(3, 4) }

func (s Sample) quantile(nth, of int) float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(s))[(len(s)-1)*nth/of]
}

// Measure times every program with both kinds of keys, all of them in turn in
// every round, so that whatever else the machine does falls on all alike.
func Measure(ctx context.Context, c Config) (result *Result, err error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	b, err := openBench(c.Flows)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	r := &Result{Flows: c.Flows}
	for k := range keysOf {
		for p := range programs {
			r.Costs = append(r.Costs, Cost{Program: p, Keys: k})
		}
	}
	for range c.Rounds {
		for k := range keysOf {
			if err := b.round(ctx, c, r, k); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// round times every program once. The front's own cost is that of the empty
// program behind it beyond the empty program alone.
func (b *bench) round(ctx context.Context, c Config, r *Result, k Keys) error {
	empty, err := b.timeEmpty(c.Frames)
	if err != nil {
		return err
	}
	var front float64
	for p := range programs {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		ns, err := b.time(p, k, c.Frames)
		if err != nil {
			return err
		}
		if p == Empty {
			front = ns - empty
			r.Fronts[k] = append(r.Fronts[k], front)
		}
		cost := r.Cost(p, k)
		cost.NS = append(cost.NS, ns-front)
		if c.Timed != nil {
			c.Timed()
		}
	}
	return nil
}

// timeEmpty returns ns per frame of the empty program without a front, by the
// kernel's own figure, a whole number rounded down.
func (b *bench) timeEmpty(frames int) (float64, error) {
	action, took, err := b.programs[Empty].Benchmark(b.frame, frames, nil)
	if err == nil && action != xdpDrop {
		err = fmt.Errorf("it returned %d, not %d", action, xdpDrop)
	}
	if err != nil {
		return 0, fmt.Errorf("run the %v program: %w", Empty, err)
	}
	return float64(took.Nanoseconds()) + 0.5, nil
}

// time returns ns per frame of a program and the front before it. A run takes
// milliseconds that are not the program's (the kernel waits for a grace period
// of RCU), so the front itself looks at the clock.
func (b *bench) time(p Program, k Keys, frames int) (float64, error) {
	if err := b.slot.Put(uint32(0), b.programs[p]); err != nil {
		return 0, fmt.Errorf("put the %v program behind the front: %w", p, err)
	}
	if err := errors.Join(b.frames.Set(uint32(frames)), b.framesSeen.Set(uint32(0))); err != nil {
		return 0, fmt.Errorf("prepare a run of %d frames: %w", frames, err)
	}
	options := ebpf.RunOptions{Data: b.frame, Repeat: uint32(frames)}
	action, err := b.fronts[k].Run(&options)
	if err == nil && action != xdpDrop {
		err = fmt.Errorf("it returned %d for a data segment, not %d, and so went another way than the one to be timed", action, xdpDrop)
	}
	if err != nil {
		return 0, fmt.Errorf("run the %v program with %v keys: %w", p, k, err)
	}
	var first, last uint64
	if err := errors.Join(b.firstAt.Get(&first), b.lastAt.Get(&last)); err != nil {
		return 0, fmt.Errorf("read the time of a run of %d frames: %w", frames, err)
	}
	return float64(last-first) / float64(frames-1), nil
}
