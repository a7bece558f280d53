package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// userHertz is the unit of /proc/stat: USER_HZ, 100 on every architecture that
// Linux still has.
const userHertz = 100

// cpuTimes is how much CPU was used up to a moment.
type cpuTimes struct {
	at      time.Time
	busy    time.Duration // all CPUs but for what they idled, stolen time left out
	ticks   time.Duration // user, nice, system, irq and softirq, as sampled at every tick
	stolen  time.Duration // by the hypervisor
	process time.Duration // this process, all threads
}

// readCPU reads /proc/stat and this process's clock. A CPU's idle time is
// measured to the nanosecond where the kernel stops its tick (CONFIG_NO_HZ) and
// the rest is sampled at ticks, so what is not idle is the truer sum: a load that
// keeps time with the tick hides from it or is seen too often.
func readCPU() (cpuTimes, error) {
	c := cpuTimes{at: time.Now()}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return c, fmt.Errorf("read the CPUs' times: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Scan()
	fields := strings.Fields(lines.Text())
	if len(fields) < 9 || fields[0] != "cpu" {
		return c, fmt.Errorf("/proc/stat begins with %q, expected the times of all CPUs", lines.Text())
	}
	var jiffies [8]time.Duration // user nice system idle iowait irq softirq steal
	for i := range jiffies {
		n, err := strconv.ParseInt(fields[i+1], 10, 64)
		if err != nil {
			return c, fmt.Errorf("/proc/stat: %w", err)
		}
		jiffies[i] = time.Duration(n) * time.Second / userHertz
	}
	c.ticks = jiffies[0] + jiffies[1] + jiffies[2] + jiffies[5] + jiffies[6]
	c.stolen = jiffies[7]
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return c, fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
	}
	c.busy = time.Duration(now.Nano())*time.Duration(runtime.NumCPU()) - jiffies[3] - jiffies[4] - c.stolen
	var used unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used); err != nil {
		return c, fmt.Errorf("read this process's CPU time: %w", err)
	}
	c.process = time.Duration(used.Nano())
	return c, nil
}

// cpuUse is what was used between two moments.
type cpuUse struct {
	Took    time.Duration
	Busy    time.Duration
	Ticks   time.Duration
	Stolen  time.Duration
	Process time.Duration
}

func (c cpuTimes) since(before cpuTimes) cpuUse {
	return cpuUse{
		Took: c.at.Sub(before.at), Busy: c.busy - before.busy, Ticks: c.ticks - before.ticks,
		Stolen: c.stolen - before.stolen, Process: c.process - before.process,
	}
}

// beyond takes away what the machine does by itself in the same time.
func (u cpuUse) beyond(idle cpuUse) cpuUse {
	if idle.Took <= 0 {
		return u
	}
	part := float64(u.Took) / float64(idle.Took)
	less := func(of, by time.Duration) time.Duration { return of - time.Duration(float64(by)*part) }
	u.Busy, u.Ticks, u.Process = less(u.Busy, idle.Busy), less(u.Ticks, idle.Ticks), less(u.Process, idle.Process)
	return u
}

// processCPU is what another process of this user's has used so far
// (/proc/PID/schedstat, in ns, all threads), softirqs on its time included.
func processCPU(pid int) (time.Duration, error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		if err != nil {
			continue // it has ended meanwhile
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/task/%s/schedstat: %w", pid, task.Name(), err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}
