package main

import (
	"context"
	"errors"
	"fmt"
)

// slack is by how much less than asked for a generator may send before a trial
// counts as the generator's limit, not the receiver's.
const slack = 0.02

// liveFinding is what a whole measurement came to.
type liveFinding struct {
	Full    *liveTrial     // as fast as possible; nil where a rate was asked for
	Best    *liveTrial     // the fastest without loss; nil where each lost something
	Trials  []*liveTrial   // in the order of the search
	Verdict *recordVerdict // of the session of Best; nil without finwait as the receiver
	Check   *recordCheck   // its records' phases
	Facts   []string
}

// liveSearch looks for the highest rate without loss, as RFC 2544 section 26.1
// has it: at full rate first, then by halving what lies between a rate that lost
// something and one that did not. A session that lost a segment is not used
// again, so that each trial begins with connections that are whole.
type liveSearch struct {
	options  *liveOptions
	progress *benchProgress
	session  *liveSession
	finding  liveFinding
}

// measureLive measures once.
func measureLive(ctx context.Context, o *liveOptions, p *benchProgress) (found *liveFinding, err error) {
	s := &liveSearch{options: o, progress: p}
	defer func() {
		if s.session != nil {
			err = errors.Join(err, s.session.close())
		}
	}()
	if o.rate != rateSearch {
		err = s.single(ctx)
	} else {
		err = s.search(ctx)
	}
	return &s.finding, err
}

// trial loads a session, a new one where the last is spent.
func (s *liveSearch) trial(ctx context.Context, rate float64) (*liveTrial, error) {
	if s.session == nil {
		session, err := openSession(ctx, s.options, s.progress)
		if err != nil {
			return nil, err
		}
		s.session = session
		s.finding.Facts = session.facts()
	}
	t, err := s.session.load(ctx, rate)
	if err != nil {
		return nil, err
	}
	s.finding.Trials = append(s.finding.Trials, t)
	s.progress.Say(t.String())
	if t.lost() == 0 {
		s.finding.Best = t
		return t, nil
	}
	return t, s.abandon()
}

func (s *liveSearch) abandon() error {
	session := s.session
	s.session = nil
	return session.close()
}

// finish drains the session, whose records are then judged.
func (s *liveSearch) finish(ctx context.Context) error {
	verdict, err := s.session.drain(ctx)
	if err != nil {
		return err
	}
	s.finding.Verdict, s.finding.Check = verdict, s.session.check
	return s.abandon()
}

// single is one trial at the rate that was asked for.
func (s *liveSearch) single(ctx context.Context) error {
	t, err := s.trial(ctx, s.options.rate)
	if err != nil {
		return err
	}
	if s.options.rate == rateFull {
		s.finding.Full = t
	}
	if t.lost() > 0 {
		return nil
	}
	return s.finish(ctx)
}

func (s *liveSearch) search(ctx context.Context) error {
	full, err := s.trial(ctx, rateFull)
	if err != nil {
		return err
	}
	s.finding.Full = full
	if full.lost() == 0 {
		return s.finish(ctx)
	}
	low, high := s.options.least, min(full.Run.Rate(), s.options.most)
	if high <= low {
		return fmt.Errorf("at %.0f frames/s, the full rate, frames were lost, and --least %.0f is not below that: choose a lower one", high, low)
	}
	// The least rate is a trial too: a search that never saw one without loss
	// has found nothing.
	for rate := low; ; rate = (low + high) / 2 {
		t, err := s.trial(ctx, rate)
		if err != nil {
			return err
		}
		switch reached := t.Run.Rate(); {
		case t.lost() == 0 && reached < rate*(1-slack):
			low, high = reached, reached
		case t.lost() == 0:
			low = rate
		case rate <= s.options.least:
			return fmt.Errorf("already at %.0f frames/s, the least rate, %v: choose a lower --least, or free the machine of other work", rate, t.Lost)
		default:
			high = rate
		}
		if high-low <= s.options.resolution*high {
			return s.confirm(ctx, low)
		}
	}
}

// confirm ends the search with a session that is judged by its records: the last
// one where nothing was lost, or another at the rate found, a step lower each
// time that it loses something.
func (s *liveSearch) confirm(ctx context.Context, rate float64) error {
	for s.session == nil {
		if rate < s.options.least {
			return fmt.Errorf("no rate from %.0f frames/s on was without loss twice: free the machine of other work", s.options.least)
		}
		if _, err := s.trial(ctx, rate); err != nil {
			return err
		}
		rate *= 1 - s.options.resolution
	}
	return s.finish(ctx)
}
