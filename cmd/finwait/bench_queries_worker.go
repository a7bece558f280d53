package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/capacity"
	"github.com/finwait/finwait/flowtable/worker"
)

// busyWorker is one that has as much to do as it can, and the publisher of its
// records. It implements history.Live.
type busyWorker struct {
	*flowtable.Table
	unit      string
	cpu       int          // that the worker is pinned to
	rejoin    func() error // gives its CPU back to the others
	thread    int          // that it runs on
	done      atomic.Uint64
	newest    atomic.Int64 // when the newest record ended, on the load's clock
	stopping  atomic.Bool
	ready     func() // called before each question; nil where nothing is to be done
	worked    chan error
	published chan struct{}
}

// loadStride is how much is done between two looks at whether to stop.
const loadStride = 256

// startLoad makes a load, and runs it pinned to the first CPU until stop, which
// everything else keeps off, as finwait run has it. Its records go to kept.
func startLoad(build func(flowtable.Records) (*capacity.Load, error), kept *history.Recent) (*busyWorker, error) {
	ring := flowtable.NewRing(recordRing, false)
	l, err := build(ring)
	if err != nil {
		return nil, err
	}
	w := &busyWorker{Table: l.Table(), unit: l.Unit(), cpu: cpuOf(0), worked: make(chan error, 1), published: make(chan struct{})}
	if w.rejoin, err = keepOff([]int{w.cpu}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	go func() {
		defer close(w.published)
		worker.Publish([]*flowtable.Ring{ring}, func(records []flowtable.Record) {
			_ = kept.Write(records) // which never fails
			w.newest.Store(records[len(records)-1].EndAt)
		}, nil)
	}()
	began := make(chan struct{})
	go func() {
		w.worked <- w.run(l, began)
		ring.Close()
	}()
	<-began
	return w, nil
}

func (w *busyWorker) run(l *capacity.Load, began chan<- struct{}) error {
	runtime.LockOSThread() // and never unlocked: the thread ends pinned
	w.thread = unix.Gettid()
	close(began)
	var set unix.CPUSet
	if w.cpu >= 0 {
		set.Set(w.cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("pin the worker to CPU %d: %w", w.cpu, err)
		}
	}
	for !w.stopping.Load() {
		w.done.Add(uint64(l.Run(loadStride)))
	}
	return nil
}

// stop ends the load, of which nobody may ask any more.
func (w *busyWorker) stop() error {
	w.stopping.Store(true)
	err := <-w.worked
	<-w.published
	return errors.Join(err, w.rejoin(), w.Close())
}

// speed is what a worker did a second, and a second of its own processor time: the
// latter is told apart from what other programs do on the worker's CPU.
type speed struct{ elapsed, own float64 }

// turn does something beside the worker for a time, and returns the worker's speed
// meanwhile.
func (w *busyWorker) turn(ctx context.Context, length time.Duration, do func(context.Context) error) (v speed, err error) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	used, err := w.processorTime()
	if err != nil {
		return v, err
	}
	before, began := w.done.Load(), time.Now()
	if err := do(ctx); err != nil {
		return v, err
	}
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return v, ctx.Err()
	}
	usedBy, err := w.processorTime()
	done := float64(w.done.Load() - before)
	return speed{done / time.Since(began).Seconds(), done / (usedBy - used).Seconds()}, err
}

// processorTime is what the worker's thread has had.
func (w *busyWorker) processorTime() (time.Duration, error) {
	const ofThread = 6 // CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED (include/linux/posix-timers_types.h)
	var at unix.Timespec
	if err := unix.ClockGettime(^int32(w.thread)<<3|ofThread, &at); err != nil {
		return 0, fmt.Errorf("the processor time of the worker's thread: %w", err)
	}
	return time.Duration(at.Nano()), nil
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
