package xdp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAwaiter: it waits for what can be read or for the time, again and again, also where
// something came while nobody waited, and allocates nothing.
func TestAwaiter(t *testing.T) {
	target, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(target)
	a, err := openAwaiter(target)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}()
	signal := func() {
		if _, err := unix.Write(target, []byte{1, 7: 0}); err != nil {
			t.Error(err)
		}
	}
	consume := func() {
		if _, err := unix.Read(target, make([]byte, 8)); err != nil {
			t.Error(err)
		}
	}
	wait := func(why string, d time.Duration, want bool) {
		t.Helper()
		before := time.Now()
		ready, err := a.wait(d)
		switch took := time.Since(before); {
		case err != nil:
			t.Fatal(err)
		case ready != want:
			t.Errorf("%s: readable %v, want %v", why, ready, want)
		case !want && took < d:
			t.Errorf("%s: it waited %v, not %v", why, took, d)
		}
	}
	for range 3 {
		wait("nothing comes", 5*time.Millisecond, false)
		time.AfterFunc(5*time.Millisecond, signal)
		wait("something comes", time.Hour, true)
		wait("it is there still", time.Hour, true)
		consume()
		wait("it is gone", time.Millisecond, false)
		signal()
		wait("it came meanwhile", time.Hour, true)
		consume()
	}
	// What comes after a wait wakes nobody: the epoll itself cannot be read.
	wait("nothing comes", time.Millisecond, false)
	signal()
	on := []unix.PollFd{{Fd: int32(a.fd), Events: unix.POLLIN}}
	a.stop(t)
	if n, err := unix.Poll(on, 0); err != nil || n != 0 {
		t.Errorf("a signal that nobody waits for can be seen: %v, %v", n, err)
	}
	consume()
	if n := testing.AllocsPerRun(20, func() { _, _ = a.wait(time.Microsecond) }); n != 0 {
		t.Errorf("%v allocations for each wait", n)
	}
}

// stop ends what the timer tells of the last wait.
func (a *awaiter) stop(t *testing.T) {
	t.Helper()
	if err := unix.TimerfdSettime(a.timer, 0, &unix.ItimerSpec{}, nil); err != nil {
		t.Fatal(err)
	}
}
