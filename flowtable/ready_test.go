package flowtable

import (
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// resident is how many of the values of a slice of Reserve have memory behind them, from
// the first on (mincore(2)).
func resident[T any](t *testing.T, s []T) int {
	t.Helper()
	var one T
	size, page := int(unsafe.Sizeof(one)), os.Getpagesize()
	pages := make([]byte, (len(s)*size+page-1)/page)
	if _, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&s[0])), uintptr(len(s)*size), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	n := 0
	for n < len(pages) && pages[n]&1 != 0 {
		n++
	}
	return min(n*page/size, len(s))
}

// Memory is ready for as many connections as was asked, whatever the worker has done
// meanwhile, and for not many more.
func TestMakeReady(t *testing.T) {
	const flows, ahead = 1 << 19, 1 << 16
	hasher := segment.NewHasher()
	table, err := New(Config{MaxFlows: flows, Timeouts: LiveTimeouts(), Records: new(drain)}, hasher)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	}()
	if n := resident(t, table.hot); n != 0 {
		t.Fatalf("memory of %d slots was touched by New: nothing is left to see", n)
	}
	expect := func(from int) {
		t.Helper()
		if all, err := table.MakeReady(ahead, nil); all || err != nil {
			t.Fatalf("all ready: %v, %v", all, err)
		}
		// A huge page holds the halves, outlines and links of different numbers.
		const most = 2*hugePage/coldSize + readyStep
		for what, n := range map[string]int{"hot": resident(t, table.hot), "cold": resident(t, table.cold)} {
			if n < from+ahead || n > from+ahead+most {
				t.Errorf("%s halves of %d slots are ready, asked for %d after %d", what, n, ahead, from)
			}
		}
		for what, n := range map[string]int{"links": resident(t, table.links), "outlines": wordOutlines * resident(t, table.outlines)} {
			if n < from+ahead {
				t.Errorf("%s of %d slots are ready, asked for %d after %d", what, n, ahead, from)
			}
		}
		if n := resident(t, table.index.buckets); n != len(table.index.buckets) {
			t.Errorf("%d of %d buckets are ready", n, len(table.index.buckets))
		}
	}
	expect(1)
	const opened = 3 * ahead
	batch := make([]*segment.Segment, 1)
	for i := range uint32(opened) {
		s := segment.Segment{At: 1, TCPFlags: segment.SYN, Octets: 40, SrcPort: 1, DstPort: 2}
		*(*uint32)(unsafe.Pointer(&s.Src[12])) = i
		batch[0] = &s
		table.Update(batch, nil)
	}
	if n := table.Stats().Connections.Load(); n != opened {
		t.Fatalf("%d connections are open, expected %d", n, opened)
	}
	expect(1 + opened)
	if all, err := table.MakeReady(flows, nil); !all || err != nil {
		t.Errorf("all ready: %v, %v", all, err)
	}
	if n := resident(t, table.hot); n != len(table.hot) {
		t.Errorf("%d of %d slots are ready", n, len(table.hot))
	}
}

// A closed channel ends it early.
func TestMakeReadyEnds(t *testing.T) {
	table, err := New(Config{MaxFlows: 1 << 17, Timeouts: LiveTimeouts(), Records: new(drain)}, segment.NewHasher())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	}()
	done := make(chan struct{})
	close(done)
	if all, err := table.MakeReady(1<<17, done); all || err != nil || resident(t, table.hot) != 0 {
		t.Errorf("all ready: %v, %v; %d slots have memory", all, err, resident(t, table.hot))
	}
}
