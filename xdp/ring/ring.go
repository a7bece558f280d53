// Package ring reads segments from the ring buffers that kernel programs write
// (BPF_MAP_TYPE_RINGBUF, kernel/bpf/ringbuf.c): in place, without a copy and without a
// system call.
//
// Terms. A record is a header of 8 octets and what the program wrote, here a
// segment.Segment, with or without its owner; positions are octets since the ring was made, and run freely. The
// consumer position is ours: all before it may be written over. The producer position
// is the kernel's: all before it is reserved, and a record whose header is busy is still
// being written. The records' memory is mapped twice in a row, so that none is in two
// parts, and is read-only.
//
// Nobody is woken by a record: programs write them with BPF_RB_NO_WAKEUP, and whoever
// reads comes by itself.
//
// Ownership. Receive belongs to one goroutine; Malformed and Map may be called from any.
package ring

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// Of a record's header (include/uapi/linux/bpf.h): its first word is the length of what
// follows, with two marks.
const (
	headerSize = 8       // BPF_RINGBUF_HDR_SZ
	busy       = 1 << 31 // BPF_RINGBUF_BUSY_BIT
	discarded  = 1 << 30 // BPF_RINGBUF_DISCARD_BIT
)

// longestNap is how long Receive sleeps at most before it looks again.
const longestNap = 10 * time.Millisecond

// Ring is one ring buffer with its one reader.
type Ring struct {
	kernel    *ebpf.Map
	mappings  [][]byte
	consumer  *uint64 // read by the kernel
	producer  *uint64 // written by it
	records   []byte  // twice the ring
	mask      uint64
	next      uint64 // behind the records last handed out
	limit     uint64 // the producer position as last read
	malformed atomic.Uint64
}

// Octets is the size of a ring in which at least so many segments without an owner find
// room: a power of two, in whole pages.
func Octets(segments int) int {
	octets := max(segments*(headerSize+int(segment.Size)), os.Getpagesize())
	return 1 << bits.Len(uint(octets-1))
}

// Open makes a ring of so many octets, as Octets has them.
func Open(octets int) (*Ring, error) {
	kernel, err := ebpf.NewMap(&ebpf.MapSpec{Name: "segments", Type: ebpf.RingBuf, MaxEntries: uint32(octets)})
	if err != nil {
		return nil, fmt.Errorf("make a ring of %d octets: %w", octets, err)
	}
	r := &Ring{kernel: kernel, mask: uint64(octets - 1)}
	if err := r.mapAll(octets); err != nil {
		return nil, errors.Join(fmt.Errorf("map a ring of %d octets: %w", octets, err), r.Close())
	}
	return r, nil
}

// mapAll maps the page of the consumer position, and behind it that of the producer
// position with all records.
func (r *Ring) mapAll(octets int) error {
	page := os.Getpagesize()
	own, err := unix.Mmap(r.kernel.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	r.mappings = append(r.mappings, own)
	kernels, err := unix.Mmap(r.kernel.FD(), int64(page), page+2*octets, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	r.mappings = append(r.mappings, kernels)
	r.consumer, r.producer = (*uint64)(unsafe.Pointer(&own[0])), (*uint64)(unsafe.Pointer(&kernels[0]))
	r.records = kernels[page:]
	return nil
}

// Map is what a program writes to.
func (r *Ring) Map() *ebpf.Map { return r.kernel }

// Receive points batch at segments in the ring and returns how many. Where there are
// none it waits for the first, at most wait, and comes for it up to 10 ms late; 0 and no
// error say that none came. The segments are valid, and must not be written to, until
// the next call, which gives their memory back to the kernel.
func (r *Ring) Receive(batch []*segment.Segment, wait time.Duration) (int, error) {
	r.release()
	n := r.take(batch)
	for n == 0 && wait > 0 && len(batch) > 0 {
		pause := min(wait, longestNap)
		sleep(pause)
		wait -= pause
		n = r.take(batch)
	}
	return n, nil
}

// Malformed is how many records were no segment.
func (r *Ring) Malformed() uint64 { return r.malformed.Load() }

// take goes on to the next records, and stops at one that is still being written. The
// kernel publishes a record by a store-release of its header, and the positions in the
// same way; sync/atomic's loads and stores are at least acquire and release on every
// architecture.
func (r *Ring) take(batch []*segment.Segment) (n int) {
	for n < len(batch) {
		if r.next == r.limit {
			if r.limit = atomic.LoadUint64(r.producer); r.next == r.limit {
				break
			}
		}
		at := r.next & r.mask
		header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.records[at])))
		if header&busy != 0 {
			break
		}
		length := uint64(header &^ (busy | discarded))
		r.next += (headerSize + length + 7) &^ 7
		switch {
		case header&discarded != 0:
		case length != segment.Size && length != segment.OwnedSize:
			r.malformed.Add(1)
		default:
			batch[n] = (*segment.Segment)(unsafe.Pointer(&r.records[at+headerSize]))
			n++
		}
	}
	return n
}

// release gives back all that was handed out.
func (r *Ring) release() {
	if *r.consumer != r.next { // nobody else writes it
		atomic.StoreUint64(r.consumer, r.next)
	}
}

// sleep does so without telling the Go runtime, as worker.nap, so that a signal may end
// it at any time.
func sleep(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}

// Close gives the memory back. No Receive may be under way, and no segment may be used
// any more.
func (r *Ring) Close() error {
	var errs []error
	for _, m := range r.mappings {
		errs = append(errs, unix.Munmap(m))
	}
	r.mappings, r.records = nil, nil
	return errors.Join(append(errs, r.kernel.Close())...)
}
