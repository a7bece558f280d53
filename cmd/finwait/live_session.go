package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/api/export"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/worker"
	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/generator"
)

const (
	// gentleRate is the most at which a window is filled and drained, in frames a
	// second: most of them are control segments, and nothing is measured there.
	gentleRate = 200_000
	// settling bounds the wait for what was sent to have come, and settlePoll is how
	// often that is looked at.
	settling   = 5 * time.Second
	settlePoll = 5 * time.Millisecond
	// idleSample is for how long the machine is watched without load.
	idleSample = 2 * time.Second
	// spareFlows are kept for connections that linger.
	spareFlows = 1 << 18
)

// receiverKind is what stands where frames arrive.
type receiverKind string

const (
	receiverFinwait receiverKind = "finwait"
	receiverDrop    receiverKind = "drop"
	receiverNone    receiverKind = "none"
)

// liveSession is a generator, a wire and a receiver, set up once, loaded any
// number of times, and drained at the end.
type liveSession struct {
	options   *liveOptions
	progress  *benchProgress
	wire      *generator.Wire // nil between interfaces that were named
	generator *generator.Generator
	transmit  *generator.Receiver // the program that makes a NIC take redirected frames
	receiver  *generator.Receiver // of those that are no finwait
	appliance *appliance
	check     *recordCheck
	behind    backlog
	program   *program
	idle      cpuUse
	warm      bool // its connections are in every step of their lives
}

// openSession sets everything up and fills the window.
func openSession(ctx context.Context, o *liveOptions, p *benchProgress) (*liveSession, error) {
	s := &liveSession{options: o, progress: p}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *liveSession) open(ctx context.Context) (err error) {
	if s.options.transmit == "" {
		if s.wire, err = generator.NewWire(); err != nil {
			return err
		}
	}
	if err := s.openGenerator(); err != nil {
		return err
	}
	if err := s.atReceiver(func() error { return s.openReceiver(ctx) }); err != nil {
		return err
	}
	if s.options.exec != "" {
		err := s.atReceiver(func() error {
			s.program, err = startProgram(ctx, s.options.exec, s.receiveName(), s.progress.Say)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := s.fill(ctx); err != nil {
		return err
	}
	return s.watchIdle(ctx)
}

func (s *liveSession) receiveName() string {
	if s.wire != nil {
		return generator.ReceiveInterface
	}
	return s.options.receive
}

// atReceiver runs fn with the calling thread where frames arrive.
func (s *liveSession) atReceiver(fn func() error) error {
	if s.wire != nil {
		return s.wire.AtReceiver(fn)
	}
	return fn()
}

func (s *liveSession) openGenerator() (err error) {
	c := s.options.generatorConfig()
	c.Hold = s.behind.hold
	s.behind.sent = func() uint64 { return s.generator.Counts().Sent }
	if s.wire != nil {
		c.Interface = generator.TransmitInterface
		return s.wire.AtTransmitter(func() error {
			s.generator, err = generator.Open(c)
			return err
		})
	}
	if err := xdp.Check(s.options.transmit, s.options.force); err != nil {
		return fmt.Errorf("--transmit: %w", err)
	}
	if err := xdp.Check(s.options.receive, s.options.force); err != nil {
		return fmt.Errorf("--receive: %w", err)
	}
	device, err := netlink.LinkByName(s.options.receive)
	if err != nil {
		return fmt.Errorf("--receive %q: %w", s.options.receive, err)
	}
	// Most drivers take redirected frames only while they have a program.
	if s.transmit, err = generator.Deliver(s.options.transmit); err != nil {
		return fmt.Errorf("--transmit: %w", err)
	}
	c.Interface, c.Destination = s.options.transmit, device.Attrs().HardwareAddr
	s.generator, err = generator.Open(c)
	return err
}

func (s *liveSession) openReceiver(ctx context.Context) (err error) {
	switch s.options.receiver {
	case receiverDrop:
		s.receiver, err = generator.Discard(s.receiveName())
		return err
	case receiverNone:
		if s.wire == nil {
			return nil
		}
		s.receiver, err = generator.Deliver(s.receiveName())
		return err
	}
	s.check = newRecordCheck(s.generator, s.options.sequence)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open the appliance's API: %w", err)
	}
	flows := uint32(s.options.connections + spareFlows)
	c := applianceConfig{
		tap:      xdp.Config{Interfaces: []string{s.receiveName()}, MaxFlows: flows, Force: s.options.force, Sequence: s.options.sequence},
		maxFlows: flows,
		recent:   1 << 17,
		timeouts: flowtable.LiveTimeouts(),
		polling:  worker.DefaultPolling(),
		listener: listener,
		sinks:    []export.Branch{{Name: "check", Sink: s.check}},
		patience: lastRecords,
		report:   s.progress.Say,
	}
	if s.options.sequence {
		c.timeouts.Established = sequenceIdle
	}
	if s.appliance, err = startAppliance(ctx, c); err != nil {
		return errors.Join(err, listener.Close())
	}
	s.behind.workers = s.appliance.team.Workers()
	return nil
}

// follow shows how far a run of the generator is.
func (s *liveSession) follow(what string, steps int64, run func() (generator.Run, error)) (generator.Run, error) {
	s.progress.Stage(what, steps)
	done, over := make(chan struct{}), make(chan struct{})
	before := s.generator.Counts().Made
	go func() {
		defer close(over)
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for shown := before; ; {
			select {
			case <-done:
				return
			case <-tick.C:
				now := s.generator.Counts().Made
				s.progress.Add(int64(now - shown))
				shown = now
			}
		}
	}()
	r, err := run()
	close(done)
	<-over
	return r, err
}

// fill opens the window's connections, and loses nothing while it does.
func (s *liveSession) fill(ctx context.Context) error {
	before := s.ledger()
	s.behind.begin()
	run, err := s.follow("open connections", 3*int64(s.options.connections), func() (generator.Run, error) {
		return s.generator.Fill(ctx, gentleRate)
	})
	if err != nil {
		return err
	}
	if lost := s.losses(run.Counts, before); len(lost) > 0 {
		return fmt.Errorf("opening %d connections at %d frames/s: %v: this machine is too busy to be measured", s.options.connections, gentleRate, lost)
	}
	return nil
}

// watchIdle measures what the machine does with everything in place and no load.
func (s *liveSession) watchIdle(ctx context.Context) error {
	before, err := readCPU()
	if err != nil {
		return err
	}
	select {
	case <-time.After(min(idleSample, s.options.trial)):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	after, err := readCPU()
	s.idle = after.since(before)
	return err
}

// drain closes all connections, ends the appliance, and judges its records.
func (s *liveSession) drain(ctx context.Context) (*recordVerdict, error) {
	before := s.ledger()
	s.behind.begin()
	run, err := s.follow("close connections", 4*int64(s.options.connections), func() (generator.Run, error) {
		return s.generator.Drain(ctx, gentleRate)
	})
	if err != nil || s.appliance == nil {
		return nil, err
	}
	if lost := s.losses(run.Counts, before); len(lost) > 0 {
		return nil, fmt.Errorf("closing %d connections at %d frames/s: %v: this machine is too busy to be measured", s.options.connections, gentleRate, lost)
	}
	if err := s.awaitRecords(ctx); err != nil {
		return nil, err
	}
	if err := s.appliance.stop(); err != nil {
		return nil, err
	}
	return s.check.judge()
}

// awaitRecords waits until the last connections have lingered and are on record.
func (s *liveSession) awaitRecords(ctx context.Context) error {
	s.progress.Stage("await the last records", -1)
	linger := s.appliance.config.timeouts.Linger
	last, moved := s.check.written(), time.Now()
	for time.Since(moved) < linger+settling && s.check.written() < s.generator.Counts().Opened {
		select {
		case <-time.After(10 * settlePoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if now := s.check.written(); now != last {
			last, moved = now, time.Now()
		}
	}
	return nil
}

// close takes everything down, whatever state it is in.
func (s *liveSession) close() error {
	var errs []error
	if s.program != nil {
		errs = append(errs, s.program.stop())
	}
	if s.appliance != nil {
		errs = append(errs, s.appliance.stop(), s.appliance.close())
	}
	if s.generator != nil {
		errs = append(errs, s.generator.Close())
	}
	for _, r := range []*generator.Receiver{s.receiver, s.transmit} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	if s.wire != nil {
		errs = append(errs, s.wire.Close())
	}
	return errors.Join(errs...)
}
