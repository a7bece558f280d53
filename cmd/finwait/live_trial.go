package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/finwait/finwait/xdp/generator"
)

const (
	// warmRounds are the segments of a connection that are no data.
	warmRounds = 7
	// warmSlice is how often a warm-up looks whether it is enough.
	warmSlice = 50 * time.Millisecond
)

// liveTrial is one load at one rate, and what became of it.
type liveTrial struct {
	Asked   float64 // frames a second, 0 for as fast as possible
	Run     generator.Run
	Lost    []loss
	CPU     cpuUse        // beyond what the machine does without load
	Program time.Duration // CPU of --exec's program
	Answer  string        // of --exec-after
}

// lost is the sum of all losses.
func (t *liveTrial) lost() uint64 {
	var n uint64
	for _, l := range t.Lost {
		n += l.Count
	}
	return n
}

func (t *liveTrial) perMillion(d time.Duration) float64 {
	return d.Seconds() / (float64(t.Run.Counts.Sent) / 1e6)
}

func (t *liveTrial) perSecond(n uint64) float64 { return float64(n) / t.Run.Took.Seconds() }

func (t *liveTrial) String() string {
	asked := "as fast as possible"
	if t.Asked > 0 {
		asked = fmt.Sprintf("%.0f frames/s asked for", t.Asked)
	}
	outcome := "nothing lost"
	if len(t.Lost) > 0 {
		parts := make([]string, len(t.Lost))
		for i, l := range t.Lost {
			parts[i] = l.String()
		}
		outcome = "lost " + strings.Join(parts, ", ")
	}
	return fmt.Sprintf("%s: %.0f frames/s, %.0f connections/s, %s", asked, t.Run.Rate(), t.perSecond(t.Run.Counts.Closed), outcome)
}

// load is one trial.
func (s *liveSession) load(ctx context.Context, rate float64) (*liveTrial, error) {
	what := "full rate"
	steps := int64(-1)
	if rate > 0 {
		what = fmt.Sprintf("%.0f frames/s", rate)
		steps = int64(rate * s.options.trial.Seconds())
	}
	if s.program != nil {
		if err := s.program.running(); err != nil {
			return nil, err
		}
	}
	t, ledger, began := &liveTrial{Asked: rate}, s.ledger(), s.generator.Counts()
	if err := s.warmUp(ctx, rate); err != nil {
		return nil, err
	}
	others := s.programCPU()
	before, err := readCPU()
	if err != nil {
		return nil, err
	}
	t.Run, err = s.follow(what, steps, func() (generator.Run, error) { return s.generator.Load(ctx, rate, s.options.trial) })
	if err != nil {
		return nil, err
	}
	// What is still queued belongs to the load: the wait for it is idle but for that.
	t.Lost = s.losses(s.generator.Counts().Since(began), ledger)
	if s.program != nil {
		time.Sleep(commandStart / 5) // it has a queue of its own, which nobody else can see
	}
	after, err := readCPU()
	if err != nil {
		return nil, err
	}
	t.CPU, t.Program = after.since(before).beyond(s.idle), s.programCPU()-others
	if s.program == nil {
		return t, nil
	}
	if s.options.execAfter != "" {
		err = s.atReceiver(func() error {
			t.Answer, err = ask(ctx, s.options.execAfter, s.receiveName())
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return t, s.program.running()
}

// warmUp loads a window that was just filled until its connections are in every
// step of their lives, as they are from then on: for as many rounds as a
// connection has segments that are no data. It is not measured, but what it loses
// is the trial's loss.
func (s *liveSession) warmUp(ctx context.Context, rate float64) error {
	if s.warm {
		return nil
	}
	s.warm = true
	enough := s.generator.Counts().Made + warmRounds*uint64(s.options.connections)
	_, err := s.follow("warm up", warmRounds*int64(s.options.connections), func() (generator.Run, error) {
		for until := time.Now().Add(2 * s.options.trial); s.generator.Counts().Made < enough && time.Now().Before(until); {
			if r, err := s.generator.Load(ctx, rate, warmSlice); err != nil {
				return r, err
			}
		}
		return generator.Run{}, nil
	})
	return err
}

// programCPU is what --exec's program has used; 0 for none, and where it is gone,
// which is told elsewhere.
func (s *liveSession) programCPU() time.Duration {
	if s.program == nil {
		return 0
	}
	used, err := processCPU(s.program.cmd.Process.Pid)
	if err != nil {
		return 0
	}
	return used
}
