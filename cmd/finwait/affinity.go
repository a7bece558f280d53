package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// keepOff keeps all threads of this process off some CPUs, where others are
// left: queries, garbage collection and the publisher must not take turns with
// the workers, which pin themselves. Threads that are made later inherit it from
// those that make them. back gives the threads that there are then the CPUs that
// the process had (sched_setaffinity(2)).
func keepOff(cpus []int) (back func() error, err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("read the CPUs of this process: %w", err)
	}
	left := before
	for _, cpu := range cpus {
		if cpu >= 0 {
			left.Clear(cpu)
		}
	}
	if left.Count() == 0 || left == before {
		return func() error { return nil }, nil
	}
	// Go would take the CPUs that are left for all that there are, and have
	// the workers take turns with everything else; what is set, it leaves.
	runtime.GOMAXPROCS(before.Count())
	back = func() error {
		err := setAffinity(&before)
		runtime.SetDefaultGOMAXPROCS()
		return err
	}
	if err := setAffinity(&left); err != nil {
		return nil, errors.Join(err, back())
	}
	return back, nil
}

// setAffinity gives every thread the same CPUs.
func setAffinity(cpus *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list the threads of this process: %w", err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("thread %q of this process: %w", t.Name(), err)
		}
		// A thread may have ended since.
		if err := unix.SchedSetaffinity(id, cpus); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("set the CPUs of thread %d: %w", id, err)
		}
	}
	return nil
}
