package xdp

import "sync/atomic"

// The rings of an AF_XDP socket are single-producer single-consumer: two
// indices that run freely modulo 2^32 and a power of two of slots
// (Documentation/networking/af_xdp.rst). The kernel publishes slots by a
// store-release of the producer index and frees them by one of the consumer
// index; sync/atomic's loads and stores are at least acquire and release on
// every architecture. Both sides cache the other's index, so that the shared
// cache line is touched only when the cached one does not suffice.

// consumerRing is the end that takes; one goroutine uses it.
type consumerRing[T any] struct {
	producer, consumer *uint32
	slots              []T
	next               uint32 // first slot not yet taken
	limit              uint32 // the producer index as last read
}

func newConsumerRing[T any](producer, consumer *uint32, slots []T) consumerRing[T] {
	next := atomic.LoadUint32(consumer)
	return consumerRing[T]{producer: producer, consumer: consumer, slots: slots, next: next, limit: next}
}

// available returns how many slots may be taken, at most want.
func (r *consumerRing[T]) available(want uint32) uint32 {
	if r.limit-r.next < want {
		r.limit = atomic.LoadUint32(r.producer)
	}
	return min(r.limit-r.next, want)
}

// at returns slot i of the available ones.
func (r *consumerRing[T]) at(i uint32) T {
	return r.slots[(r.next+i)&uint32(len(r.slots)-1)]
}

// release gives n slots back; their contents must have been copied.
func (r *consumerRing[T]) release(n uint32) {
	r.next += n
	atomic.StoreUint32(r.consumer, r.next)
}

// producerRing is the end that gives; one goroutine uses it.
type producerRing[T any] struct {
	producer, consumer *uint32
	slots              []T
	next               uint32 // first slot not yet written
	limit              uint32 // the consumer index as last read, plus all slots
}

func newProducerRing[T any](producer, consumer *uint32, slots []T) producerRing[T] {
	next := atomic.LoadUint32(producer)
	return producerRing[T]{producer: producer, consumer: consumer, slots: slots, next: next, limit: next}
}

// free returns how many slots may be written, at most want.
func (r *producerRing[T]) free(want uint32) uint32 {
	if r.limit-r.next < want {
		r.limit = atomic.LoadUint32(r.consumer) + uint32(len(r.slots))
	}
	return min(r.limit-r.next, want)
}

// put writes slot i of the free ones.
func (r *producerRing[T]) put(i uint32, v T) {
	r.slots[(r.next+i)&uint32(len(r.slots)-1)] = v
}

// submit publishes n written slots.
func (r *producerRing[T]) submit(n uint32) {
	r.next += n
	atomic.StoreUint32(r.producer, r.next)
}
