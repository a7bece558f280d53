package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// concurrentPlays keeps the machine's cores free for what is measured:
	// most plays wait most of the time.
	concurrentPlays = 16
	// roundTime is the least time between the starts of two rounds.
	roundTime = 250 * time.Millisecond
)

// Progress is how far Traffic has come.
type Progress struct {
	Connections int // finished so far
	Elapsed     time.Duration
}

// Traffic plays every scenario over IPv4 and IPv6, in rounds, until duration
// is over; the first round is played in any case. It returns what is to be
// expected of every connection, in the order in which they finished. progress
// may be nil; it is called after every play, by one goroutine at a time.
//
// Where ctx ends first, the connections then under way are given up and the
// error is ctx's cause; nothing can be said of them, so the expectations that
// are returned with it are not complete.
func (n *Network) Traffic(ctx context.Context, duration time.Duration, progress func(Progress)) ([]Expectation, error) {
	played := scenarios
	if n.gateway && n.nat == Masquerade {
		played = slices.Concat(scenarios, masqueradeScenarios)
	}
	return n.traffic(ctx, played, duration, progress)
}

func (n *Network) traffic(ctx context.Context, scenarios []scenario, duration time.Duration, progress func(Progress)) ([]Expectation, error) {
	t := &theatre{started: time.Now(), progress: progress, bulk: make(chan struct{}, 1)}
	defer t.close()
	if err := t.open(n); err != nil {
		return nil, fmt.Errorf("lab traffic: %w", err)
	}
	group, playing := errgroup.WithContext(ctx)
	group.SetLimit(concurrentPlays)
	for playing.Err() == nil {
		round := time.Now()
		for i := range scenarios {
			for _, s := range t.stages {
				group.Go(func() error { return t.play(playing, s, &scenarios[i]) })
			}
		}
		if time.Since(t.started) >= duration {
			break
		}
		if sleep(playing, max(0, min(roundTime-time.Since(round), duration-time.Since(t.started)))) != nil {
			break
		}
	}
	err := group.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("lab traffic: %w", err)
	}
	return t.expected, err
}

// theatre has a stage per family and collects what was played.
type theatre struct {
	stages    []*stage
	injectors injectors
	bulk      chan struct{}
	started   time.Time

	mu       sync.Mutex
	expected []Expectation
	progress func(Progress)
}

func (t *theatre) open(n *Network) (err error) {
	for _, in := range []Namespace{Client, Server} {
		if t.injectors[in], err = n.newInjector(in); err != nil {
			return err
		}
	}
	for i := range n.families {
		s, err := n.newStage(&n.families[i], t.injectors)
		if err != nil {
			return err
		}
		t.stages = append(t.stages, s)
	}
	return nil
}

func (t *theatre) close() {
	for _, s := range t.stages {
		s.listener.Close()
	}
	for _, i := range t.injectors {
		if i != nil {
			i.Close()
		}
	}
}

// errStuck is the cause of a play that ran into playTimeout.
var errStuck = errors.New("play is stuck")

func (t *theatre) play(ctx context.Context, s *stage, played *scenario) error {
	if played.bulk {
		select {
		case t.bulk <- struct{}{}:
			defer func() { <-t.bulk }()
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, playTimeout, errStuck)
	defer cancel()
	expected, err := played.play(ctx, s)
	if err != nil {
		return fmt.Errorf("scenario %q over %s: %w", played.name, s.name, err)
	}
	for i := range expected {
		expected[i].Scenario = played.name
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expected = append(t.expected, expected...)
	if t.progress != nil {
		t.progress(Progress{Connections: len(t.expected), Elapsed: time.Since(t.started)})
	}
	return nil
}
