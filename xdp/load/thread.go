package load

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// openBatch is how many connections are opened before events are looked
	// at again.
	openBatch = 32
	// eventBatch is how many events are taken at once.
	eventBatch = 256
	// longestWait is how long a thread sleeps before it looks whether it is
	// to stop.
	longestWait = int64(20 * time.Millisecond)
	readOctets  = 64 << 10
)

// plan is a step as one thread has it: of every strides connections, the
// first-th.
type plan struct {
	begin    int64 // ns, CLOCK_MONOTONIC
	window   Window
	interval float64 // ns between two connections of all threads
	first    int
	strides  int
}

// thread opens and closes its share of the connections.
type thread struct {
	config *Config
	shared *shared
	ports  *ports
	target unix.Sockaddr
	family int

	slots  []slot // slot 0 is nobody's
	free   uint32
	used   int
	holds  queue
	waits  queue
	epoll  int
	events []unix.EpollEvent
	buffer []byte

	plan     plan
	nth      int   // connections of the schedule that are dealt with
	due      int64 // of the next
	counts   Counts
	integral float64 // of established connections over measured ns
	entered  bool    // the window has begun
	ended    int64   // when the thread was stopped, else the end of the window
}

func newThread(c *Config, s *shared, low, count, slots int) (*thread, error) {
	t := &thread{
		config: c, shared: s, family: unix.AF_INET6, epoll: -1,
		slots:  make([]slot, slots+1),
		events: make([]unix.EpollEvent, eventBatch),
		buffer: make([]byte, readOctets),
		holds:  queue{wait: int64(c.Hold)},
		waits:  queue{wait: int64(c.Timeout)},
	}
	if c.Target.Addr().Unmap().Is4() {
		t.family = unix.AF_INET
	}
	for i := range t.slots {
		t.slots[i].next = uint32(i+1) % uint32(len(t.slots))
	}
	t.free = t.slots[0].next
	t.counts.Lag = newLag()
	var err error
	if t.ports, err = newPorts(c.Sources, low, count); err != nil {
		return nil, err
	}
	t.target, err = sockaddr(c.Target)
	return t, err
}

// run runs a step to its end.
func (t *thread) run(p plan) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if t.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("make an epoll instance: %w", err)
	}
	t.start(p)
	defer func() {
		now := monotonic()
		t.letGo(now)
		t.counts.Mean = t.integral
		err = errors.Join(err, unix.Close(t.epoll))
	}()
	for {
		now := monotonic()
		if t.shared.stop.Load() {
			t.miss(now)
			return nil
		}
		t.openDue(now)
		t.expire(now)
		if t.used == 0 && t.due >= p.window.To {
			return nil
		}
		n, err := t.poll(t.pause(monotonic()))
		if err != nil {
			return fmt.Errorf("wait for connections: %w", err)
		}
		now = monotonic()
		for i := range n {
			t.handle(&t.events[i], now)
		}
	}
}

func (t *thread) start(p plan) {
	lag := t.counts.Lag
	lag.Reset()
	t.counts = Counts{Lag: lag}
	t.plan, t.nth, t.integral, t.entered, t.ended = p, 0, 0, false, p.window.To
	t.due = t.dueAt(0)
}

func (t *thread) dueAt(nth int) int64 {
	return t.plan.begin + int64(float64(t.plan.first+nth*t.plan.strides)*t.plan.interval)
}

// openDue opens what is due, in portions.
func (t *thread) openDue(now int64) {
	if !t.entered && now >= t.plan.window.From {
		t.entered = true
		t.shared.notePeak(t.shared.open.Load())
	}
	for n := 0; n < openBatch && t.due <= now && t.due < t.plan.window.To; n++ {
		counted := t.plan.window.contains(t.due)
		if counted {
			t.counts.Offered++
			_ = t.counts.Lag.RecordValue(min(now-t.due, greatestLag)) // in bounds
		}
		t.open(counted, now)
		t.nth++
		t.due = t.dueAt(t.nth)
		now = monotonic()
	}
}

// miss counts what was due and will not be opened.
func (t *thread) miss(now int64) {
	t.ended = min(t.ended, now)
	for ; t.due <= now && t.due < t.plan.window.To; t.due = t.dueAt(t.nth) {
		if t.plan.window.contains(t.due) {
			t.counts.Offered++
			t.counts.Missed++
		}
		t.nth++
	}
}

// expire ends the waits that are over.
func (t *thread) expire(now int64) {
	for i := t.holds.head; i != 0 && t.slots[i].deadline <= now; i = t.holds.head {
		t.holds.leave(t.slots, i)
		if t.config.Close == ByServer {
			t.request(i, now)
		} else {
			t.end(i, now)
		}
	}
	for i := t.waits.head; i != 0 && t.slots[i].deadline <= now; i = t.waits.head {
		t.fail(i, timeoutOf(t.slots[i].state), nil, now)
	}
}

func timeoutOf(s state) Failure {
	switch s {
	case connecting:
		return ConnectTimeout
	case answering:
		return AnswerTimeout
	default:
		return CloseTimeout
	}
}

// pause is how long nothing is to be done, in ns.
func (t *thread) pause(now int64) int64 {
	until := now + longestWait
	if t.due < t.plan.window.To {
		until = min(until, t.due)
	}
	if i := t.holds.head; i != 0 {
		until = min(until, t.slots[i].deadline)
	}
	if i := t.waits.head; i != 0 {
		until = min(until, t.slots[i].deadline)
	}
	return max(0, until-now)
}

// poll takes events, and waits for the first so many ns (epoll_pwait2(2),
// since Linux 5.11; before, what is below a millisecond is not slept).
func (t *thread) poll(wait int64) (int, error) {
	timeout := unix.NsecToTimespec(wait)
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(t.epoll), uintptr(unsafe.Pointer(&t.events[0])),
		uintptr(len(t.events)), uintptr(unsafe.Pointer(&timeout)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	case unix.ENOSYS:
		n, err := unix.EpollWait(t.epoll, t.events, int(time.Duration(wait)/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			return 0, nil
		}
		return n, err
	}
	return 0, errno
}

// letGo resets what is still open.
func (t *thread) letGo(now int64) {
	for _, q := range []*queue{&t.holds, &t.waits} {
		for q.head != 0 {
			t.fail(q.head, Interrupted, nil, now)
		}
	}
}
