package main

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Every thread leaves the workers' CPUs, and has them back in the end.
func TestKeepOff(t *testing.T) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if all.Count() < 2 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs two CPUs")
		}
		t.Skip("this process may use one CPU alone")
	}
	first := cpuOf(0)
	back, err := keepOff([]int{first})
	if err != nil {
		t.Fatal(err)
	}
	check := func(want bool) {
		t.Helper()
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				t.Fatal(err)
			}
			var set unix.CPUSet
			if err := unix.SchedGetaffinity(id, &set); err == nil && set.IsSet(first) != want {
				t.Errorf("thread %d may use CPU %d: %v", id, first, !want)
			}
		}
	}
	check(false)
	if err := back(); err != nil {
		t.Fatal(err)
	}
	check(true)
	var every []int
	for cpu := range all.Count() {
		every = append(every, cpuOf(cpu))
	}
	if back, err = keepOff(every); err != nil {
		t.Fatal(err)
	}
	check(true) // nothing would be left
	if err := back(); err != nil {
		t.Fatal(err)
	}
}
