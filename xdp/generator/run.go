package generator

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// enum mode of bpf/generator.c.
const (
	modeFill = iota
	modeLoad
	modeDrain
)

const (
	// batch is how many frames the kernel makes before it hands them on: a veth's
	// ring has room for 256, and its other end takes 64 at a time.
	batch = 64
	// longestRest is after which a run looks whether it is to stop.
	longestRest = 10 * time.Millisecond
	// stride is the frames of one system call at full rate: short enough to be
	// stopped soon.
	stride = 1 << 14
	// catchUp is how many pulses a paced run may fall behind before it gives up
	// what it did not send, rather than send it all at once.
	catchUp = 8
	// stuckTurns is after how many turns of all slots without a frame a run ends.
	stuckTurns = 4
)

// Run is one uninterrupted piece of a generator's work.
type Run struct {
	Counts Counts        // of this run alone
	Took   time.Duration // wall time
	CPU    time.Duration // of the generator's thread, what a veth's other end did on it included
	Calls  int           // system calls
}

// Rate is the frames that the interface's driver took in a second.
func (r *Run) Rate() float64 { return float64(r.Counts.Sent) / r.Took.Seconds() }

// Fill opens one connection in every slot, at rate frames a second; 0 for as
// fast as possible. It comes first, and once.
func (g *Generator) Fill(ctx context.Context, rate float64) (Run, error) {
	want := openingSegments * uint64(g.config.Window)
	if c := g.Counts(); c.Made != 0 {
		return Run{}, errors.New("the generator's window is filled already")
	}
	return g.run(ctx, "fill", g.pace(modeFill, rate), func(c *Counts, _ time.Duration) bool { return c.Made+c.Failed >= want })
}

// Load sends on all connections for a while, and opens another wherever one
// closed, at rate frames a second; 0 for as fast as possible. The window must be
// filled.
func (g *Generator) Load(ctx context.Context, rate float64, d time.Duration) (Run, error) {
	if c := g.Counts(); c.Kinds[HandshakeACK] < uint64(g.config.Window) {
		return Run{}, fmt.Errorf("%d of %d connections are established: the window must be filled before it is loaded", c.Kinds[HandshakeACK], g.config.Window)
	}
	return g.run(ctx, "load", g.pace(modeLoad, rate), func(c *Counts, took time.Duration) bool {
		return took >= d || c.Opened == c.Closed && c.Opened >= uint64(g.config.Connections)
	})
}

// Drain closes all connections, at rate frames a second; 0 for as fast as
// possible.
func (g *Generator) Drain(ctx context.Context, rate float64) (Run, error) {
	return g.run(ctx, "drain", g.pace(modeDrain, rate), func(c *Counts, _ time.Duration) bool { return c.Opened == c.Closed })
}

// pace is what a run has to keep to.
type pace struct {
	mode  uint32
	rate  float64 // frames a second
	pulse time.Duration
	hold  func() bool // nil for never
}

func (g *Generator) pace(mode uint32, rate float64) pace {
	p := pace{mode: mode, rate: rate, pulse: g.config.Pulse}
	if mode != modeLoad {
		p.hold = g.config.Hold
	}
	return p
}

// run does one piece of work on the generator's thread.
func (g *Generator) run(ctx context.Context, what string, p pace, done func(*Counts, time.Duration) bool) (Run, error) {
	var (
		r   Run
		err error
	)
	finished := make(chan struct{})
	g.jobs <- func() {
		defer close(finished)
		r, err = g.work(ctx, p, done)
	}
	<-finished
	if err != nil {
		return r, fmt.Errorf("%s of %d connections on interface %q: %w", what, g.config.Window, g.config.Interface, err)
	}
	return r, nil
}

// work sends until it is done or ctx is.
func (g *Generator) work(ctx context.Context, p pace, done func(*Counts, time.Duration) bool) (r Run, err error) {
	before, began, cpu := g.Counts(), time.Now(), threadTime()
	atomic.StoreUint32(&g.state.Mode, p.mode)
	defer func() {
		r.Counts, r.Took, r.CPU = g.Counts().Since(before), time.Since(began), threadTime()-cpu
	}()
	made, due := before.Made, 0.0
	last := began
	idle, turns := 0, uint32(0)
	for {
		now := g.Counts()
		if done(&now, time.Since(began)) {
			return r, nil
		}
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		if p.hold != nil && p.hold() {
			p.rest()
			continue
		}
		frames := uint64(stride)
		if p.rate > 0 {
			if due, last = p.owed(due, last); due < 1 {
				p.rest()
				continue
			}
			frames = uint64(due)
		}
		atomic.StoreUint64(&g.state.Limit, now.Made+frames)
		turns = max(uint32(min(frames, stride)), min(turns, stride))
		r.Calls++
		if err := g.call(turns); err != nil {
			return r, err
		}
		made, idle, turns = g.progress(made, idle, turns)
		due -= float64(made - now.Made)
		if idle > stuckTurns*g.config.Window+stride {
			return r, errors.New("no frame could be made for all of its turns: the kernel does not let frames be cut to their length")
		}
		if p.rate > 0 && due < 1 {
			p.rest()
		}
	}
}

// progress is what the last call did: how many frames there are now, the turns
// without any since the last, and how many turns the next call should have at
// least. Where most slots are through, turns are many and frames few.
func (g *Generator) progress(made uint64, idle int, turns uint32) (uint64, int, uint32) {
	now := atomic.LoadUint64(&g.state.Made)
	if now != made {
		idle = 0
	} else {
		idle += int(turns)
	}
	if now-made >= uint64(turns)/2 {
		return now, idle, 0
	}
	return now, idle, 2 * turns
}

// owed adds what has fallen due since the last time.
func (p *pace) owed(due float64, last time.Time) (float64, time.Time) {
	now := time.Now()
	due += p.rate * now.Sub(last).Seconds()
	return min(due, max(p.rate*catchUp*p.pulse.Seconds(), batch)), now
}

// rest waits for the next pulse, or as long as a frame takes at a low rate.
func (p *pace) rest() {
	d := p.pulse
	if p.rate > 0 {
		d = max(d, min(time.Duration(float64(time.Second)/p.rate), longestRest))
	}
	pause := unix.NsecToTimespec(d.Nanoseconds())
	// Not by the Go runtime's leave, which after a sleep of milliseconds looks after
	// all threads thousands of times a second: that would be measured with the
	// receiver. A signal ends the pause early, and the next turn looks at the clock.
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&pause)), 0, 0)
}

// threadTime is what this thread has used of its CPU.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// progRun is the BPF_PROG_RUN member of union bpf_attr (linux/bpf.h). The call is
// made directly, because ebpf.Program.Run begins anew where a signal ended it.
type progRun struct {
	progFD             uint32
	retval             int32
	dataSizeIn         uint32
	dataSizeOut        uint32
	dataIn             unsafe.Pointer
	dataOut            uint64
	repeat, durationNS uint32
	ctxSizeIn          uint32
	ctxSizeOut         uint32
	ctxIn, ctxOut      uint64
	flags, cpu         uint32
	batchSize          uint32
	_                  uint32
}

// call runs the program so many times.
func (g *Generator) call(turns uint32) error {
	attr := &progRun{
		progFD:     uint32(g.objects.Generate.FD()),
		dataSizeIn: uint32(len(g.frame)), dataIn: unsafe.Pointer(&g.frame[0]),
		repeat: turns, flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, batchSize: batch,
	}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_RUN, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	runtime.KeepAlive(g)
	switch errno {
	case 0, unix.EINTR:
		return nil
	case unix.EINVAL:
		return fmt.Errorf("send frames of %d octets: %w: Linux 5.18 or later is needed for live frames", len(g.frame), errno)
	default:
		return fmt.Errorf("send frames of %d octets: %w", len(g.frame), errno)
	}
}
