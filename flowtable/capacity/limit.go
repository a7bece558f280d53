package capacity

import (
	"fmt"
	"syscall"
	"unsafe"
)

// item is two adjacent cache lines.
type item [16]uint64

const itemSize = 128

var _ [itemSize]byte = [unsafe.Sizeof(item{})]byte{}

// limitBatch is how many places are computed before they are visited: enough
// that the pause of the memory meanwhile does not count, few enough to stay in
// the first cache.
const limitBatch = 1024

// limit is as much memory as a table of 128 octets a connection would have.
type limit struct {
	items   []item
	order   order
	numbers [limitBatch]uint32
	visits  uint64
}

// newLimit maps the memory, asks for huge pages and touches all of it.
func newLimit(flows uint32) (*limit, error) {
	size := int(flows) * itemSize
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("reserving %d octets of memory for the machine's limit: %w; choose fewer flows", size, err)
	}
	_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) // without, the limit is what it is
	l := &limit{items: unsafe.Slice((*item)(unsafe.Pointer(&b[0])), flows), order: newOrder(flows)}
	for i := range l.items {
		l.items[i][0] = 0
	}
	return l, nil
}

func (l *limit) close() error {
	return syscall.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&l.items[0])), len(l.items)*itemSize))
}

// visit does n visits, or a few more, and returns how many.
func (l *limit) visit(n int) int {
	done := 0
	for done < n {
		places := l.numbers[:l.order.fill(l.numbers[:])]
		touch(l.items, places)
		done += len(places)
	}
	l.visits += uint64(done)
	return done
}

// touch adds 1 to a word in either line of every place; places are all
// different. The loads of eight items stand before their stores, so that
// nothing waits for anything else.
func touch(items []item, places []uint32) {
	for len(places) >= 8 {
		p := (*[8]uint32)(places)
		a, b, c, d := &items[p[0]], &items[p[1]], &items[p[2]], &items[p[3]]
		e, f, g, h := &items[p[4]], &items[p[5]], &items[p[6]], &items[p[7]]
		a0, b0, c0, d0, e0, f0, g0, h0 := a[0], b[0], c[0], d[0], e[0], f[0], g[0], h[0]
		a1, b1, c1, d1, e1, f1, g1, h1 := a[8], b[8], c[8], d[8], e[8], f[8], g[8], h[8]
		a[0], b[0], c[0], d[0], e[0], f[0], g[0], h[0] = a0+1, b0+1, c0+1, d0+1, e0+1, f0+1, g0+1, h0+1
		a[8], b[8], c[8], d[8], e[8], f[8], g[8], h[8] = a1+1, b1+1, c1+1, d1+1, e1+1, f1+1, g1+1, h1+1
		places = places[8:]
	}
	for _, place := range places {
		items[place][0]++
		items[place][8]++
	}
}

// verify adds up what was visited.
func (l *limit) verify() error {
	var first, second uint64
	for i := range l.items {
		first += l.items[i][0]
		second += l.items[i][8]
	}
	if first != l.visits || second != l.visits {
		return fmt.Errorf("the machine's limit: %d and %d additions arrived of %d", first, second, l.visits)
	}
	return nil
}
