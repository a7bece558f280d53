package xdp

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	asavie "github.com/asavie/xdp"
	"golang.org/x/sys/unix"
)

// frameSize is one buffer of the UMEM in octets: the least the kernel takes
// (XDP_UMEM_MIN_CHUNK_SIZE in net/xdp/xdp_umem.h).
const frameSize = 2048

// bindPatience is the longest pause between two attempts to bind; they double.
const bindPatience = 256 * time.Millisecond

// making is held while a socket is made: the socket library takes bind flags
// from a global, and what a failed attempt leaves mapped is told by comparison.
var making sync.Mutex

// socket is an AF_XDP socket bound to one receive queue. The library makes and
// binds it; the rings are driven here, since the library's accesses have no
// barriers, and unmapped here, since its Close leaves them mapped, which keeps
// the queue bound.
type socket struct {
	xsk      *asavie.Socket
	fd       int
	umem     []byte
	mappings [][]byte
	rx       consumerRing[unix.XDPDesc]
	fill     producerRing[uint64]
}

// openSocket binds a socket to a queue of an interface. rxSlots is a power of
// two; the fill ring and the UMEM have twice as many, so that buffers wait for
// the NIC while the RX ring is full.
func openSocket(ifindex, queue, rxSlots int) (*socket, error) {
	making.Lock()
	defer making.Unlock()
	options := asavie.SocketOptions{
		NumFrames:              2 * rxSlots,
		FrameSize:              frameSize,
		FillRingNumDescs:       2 * rxSlots,
		CompletionRingNumDescs: 1,
		RxRingNumDescs:         rxSlots,
	}
	before, err := mappedRings()
	if err != nil {
		return nil, err
	}
	xsk, err := bind(ifindex, queue, &options, before)
	if err != nil {
		return nil, err
	}
	s := &socket{xsk: xsk, fd: xsk.FD()}
	s.umem = xsk.GetFrame(asavie.Desc{Len: uint32(options.NumFrames * frameSize)})
	if err := s.adoptRings(options); err != nil {
		return nil, errors.Join(err, xsk.Close(), unmapSince(before))
	}
	s.fillAll(options.NumFrames)
	return s, nil
}

// bind tries again for a while where the queue is taken: the kernel unbinds a
// closed socket in a work queue (xp_release_deferred in net/xdp/xsk_buff_pool.c).
func bind(ifindex, queue int, options *asavie.SocketOptions, before map[uint64]bool) (*asavie.Socket, error) {
	asavie.DefaultSocketFlags = unix.XDP_COPY | unix.XDP_USE_NEED_WAKEUP
	for pause := time.Millisecond; ; pause *= 2 {
		xsk, err := asavie.NewSocket(ifindex, queue, options)
		if err == nil {
			return xsk, nil
		}
		err = bindError(err)
		if left := unmapSince(before); left != nil || !errors.Is(err, unix.EBUSY) || pause > bindPatience {
			return nil, errors.Join(err, left)
		}
		time.Sleep(pause)
	}
}

// close unbinds the queue: openSocket may bind it again at once.
func (s *socket) close() error {
	var errs []error
	for _, m := range s.mappings {
		errs = append(errs, syscall.Munmap(m))
	}
	s.mappings = nil
	s.umem = nil
	return errors.Join(append(errs, s.xsk.Close())...)
}

// Busy polling: for how long, in us, one call polls a queue that is empty, and how
// many frames it takes at most (SO_BUSY_POLL in socket(7)).
const (
	busyPollUS     = 20
	busyPollBudget = 64
)

// preferBusyPoll has the NIC's queue emptied by busyPoll. Its interrupts stay off
// as long as that is called often enough.
func (s *socket) preferBusyPoll() error {
	for _, option := range []struct{ name, value int }{
		{unix.SO_PREFER_BUSY_POLL, 1}, {unix.SO_BUSY_POLL, busyPollUS}, {unix.SO_BUSY_POLL_BUDGET, busyPollBudget},
	} {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, option.name, option.value); err != nil {
			return fmt.Errorf("ask for busy polling: %w: Linux 5.11 or later and CAP_NET_ADMIN are needed; leave --busy-poll out", err)
		}
	}
	return nil
}

// busyPoll runs the NIC's queue in this thread (xsk_recvmsg in net/xdp/xsk.c).
// Whether anything came, the ring tells.
func (s *socket) busyPoll() {
	_, _, _ = unix.Syscall6(unix.SYS_RECVFROM, uintptr(s.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
}

// statistics are the kernel's counters of this socket (XDP_STATISTICS).
func (s *socket) statistics() (unix.XDPStatistics, error) {
	var stats unix.XDPStatistics
	if err := getsockopt(s.fd, unix.XDP_STATISTICS, unsafe.Pointer(&stats), unsafe.Sizeof(stats)); err != nil {
		return stats, fmt.Errorf("read the statistics of an AF_XDP socket: %w", err)
	}
	return stats, nil
}

// lastError takes the error pending on the socket, nil where there is none.
func (s *socket) lastError() error {
	errno, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}

// adoptRings finds the rings that the library mapped, by the socket's inode
// and the page offsets of linux/if_xdp.h.
func (s *socket) adoptRings(options asavie.SocketOptions) error {
	var offsets unix.XDPMmapOffsets
	if err := getsockopt(s.fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&offsets), unsafe.Sizeof(offsets)); err != nil {
		return fmt.Errorf("read the layout of the rings: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(s.fd, &stat); err != nil {
		return fmt.Errorf("read the inode of an AF_XDP socket: %w", err)
	}
	areas, err := ringAreas(stat.Ino)
	if err != nil {
		return err
	}
	// The lengths are those the library mapped, so that its runtime's list of
	// mappings is emptied too.
	rx, err := areas.take(unix.XDP_PGOFF_RX_RING, int(offsets.Rx.Desc)+options.RxRingNumDescs*int(unsafe.Sizeof(unix.XDPDesc{})))
	if err != nil {
		return err
	}
	fill, err := areas.take(unix.XDP_UMEM_PGOFF_FILL_RING, int(offsets.Fr.Desc)+options.FillRingNumDescs*8)
	if err != nil {
		return err
	}
	completion, err := areas.take(unix.XDP_UMEM_PGOFF_COMPLETION_RING, int(offsets.Cr.Desc)+options.CompletionRingNumDescs*8)
	if err != nil {
		return err
	}
	s.mappings = [][]byte{rx, fill, completion}
	s.rx = newConsumerRing(at[uint32](rx, offsets.Rx.Producer), at[uint32](rx, offsets.Rx.Consumer),
		unsafe.Slice(at[unix.XDPDesc](rx, offsets.Rx.Desc), options.RxRingNumDescs))
	s.fill = newProducerRing(at[uint32](fill, offsets.Fr.Producer), at[uint32](fill, offsets.Fr.Consumer),
		unsafe.Slice(at[uint64](fill, offsets.Fr.Desc), options.FillRingNumDescs))
	return nil
}

// fillAll hands every buffer of the UMEM to the kernel.
func (s *socket) fillAll(frames int) {
	n := s.fill.free(uint32(frames))
	for i := range n {
		s.fill.put(i, uint64(i)*frameSize)
	}
	s.fill.submit(n)
}

// at points into a mapping, offset octets behind its beginning.
func at[T any](mapping []byte, offset uint64) *T {
	return (*T)(unsafe.Pointer(&mapping[offset]))
}

func getsockopt(fd, option int, value unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option),
		uintptr(value), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// bindError adds what can be done. The library gives its errors as text alone.
func bindError(err error) error {
	for errno, advice := range map[unix.Errno]string{
		unix.EPERM:    "CAP_NET_RAW is needed",
		unix.EBUSY:    "another AF_XDP socket holds the queue; stop the program that owns it",
		unix.ENOBUFS:  "the UMEM exceeds the limit of locked memory; raise it with ulimit -l, or grant CAP_IPC_LOCK",
		unix.ENOMEM:   "not enough memory for the UMEM",
		unix.ENETDOWN: "the interface is down",
	} {
		if strings.Contains(err.Error(), errno.Error()) {
			return fmt.Errorf("%w (%w): %s", err, errno, advice)
		}
	}
	if strings.Contains(err.Error(), unix.EAFNOSUPPORT.Error()) {
		return fmt.Errorf("%w (%w): this kernel is built without CONFIG_XDP_SOCKETS", err, unix.EAFNOSUPPORT)
	}
	return err
}
