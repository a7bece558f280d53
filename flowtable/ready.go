package flowtable

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// The kernel clears memory when it is first touched: a huge page takes as long as
// thousands of segments do, and on a virtual machine, whose host finds the memory only
// then, several times that. A worker that opens connections at line rate would come to
// a few such pages at once, and what arrives meanwhile would overrun its source. So
// somebody else touches the memory before it does.

// readyStep is how many slots are made ready at a time: the hot halves of as many fill
// a huge page.
const readyStep = hugePage / hotSize

// madvisePopulateWrite is MADV_POPULATE_WRITE (asm-generic/mman-common.h).
const madvisePopulateWrite = 23

// readiness is how far a table's memory is ready. It belongs to whoever calls
// MakeReady.
type readiness struct {
	index bool
	slots int // from slot 0 on
}

// MakeReady has the kernel put memory behind the index and the slots that the next
// ahead connections need, and behind a few more. all is true when there is nothing left
// to do, now and later. It may be called from one goroutine at a time, beside the worker,
// which it does not stop; when done is closed it returns early.
//
// The memory comes from where the calling thread's policy says (set_mempolicy(2)).
// Without Linux 5.14 there is an error, and the worker takes memory as it comes to it.
func (t *Table) MakeReady(ahead int, done <-chan struct{}) (all bool, err error) {
	r := &t.readiness
	if !r.index {
		if err := errors.Join(populate(t.index.buckets, 0, len(t.index.buckets), done), populate(t.editions, 0, len(t.editions), done)); err != nil {
			return false, err
		}
		r.index = true
	}
	wanted := min(int(t.fresh.Load())+ahead, len(t.hot))
	for r.slots < wanted && !isClosed(done) {
		to := min(r.slots+readyStep, len(t.hot))
		if err := t.populateSlots(r.slots, to, done); err != nil {
			return false, err
		}
		r.slots = to
	}
	return r.slots == len(t.hot), nil
}

func (t *Table) populateSlots(from, to int, done <-chan struct{}) error {
	words := func(slot int) int { return min((slot+wordOutlines-1)/wordOutlines, len(t.outlines)) }
	return errors.Join(
		populate(t.hot, from, to, done),
		populate(t.cold, from, to, done),
		populate(t.links, from, to, done),
		populate(t.owned, from, min(to, len(t.owned)), done),
		populate(t.outlines, words(from), words(to), done))
}

// populate has the kernel put memory behind values of what Reserve returned. What was
// touched before stays as it is.
func populate[T any](s []T, from, to int, done <-chan struct{}) error {
	if from >= to {
		return nil
	}
	size := int(unsafe.Sizeof(s[0]))
	octets := unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), mappedSize(len(s)*size))
	first, end := from*size&^(os.Getpagesize()-1), to*size
	// By huge pages: who changes the process's mappings waits for each call, and the
	// next fault behind them.
	for first < end && !isClosed(done) {
		next := min((first+hugePage)&^(hugePage-1), end)
		if err := syscall.Madvise(octets[first:next], madvisePopulateWrite); err != nil {
			return fmt.Errorf("taking %d octets of memory: %w", next-first, err)
		}
		first = next
	}
	return nil
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
