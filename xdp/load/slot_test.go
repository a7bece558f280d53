package load

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A queue is in the order in which slots joined, whichever of them leave.
func TestQueue(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	slots := make([]slot, 50)
	q := queue{wait: 100}
	var model []uint32
	for now := range int64(10000) {
		i := uint32(1 + random.IntN(len(slots)-1))
		if at := slices.Index(model, i); at >= 0 {
			q.leave(slots, i)
			model = slices.Delete(model, at, at+1)
		} else {
			q.join(slots, i, now)
			model = append(model, i)
			if slots[i].deadline != now+q.wait {
				t.Fatalf("deadline %d of one that joined at %d", slots[i].deadline, now)
			}
		}
		var forward, backward []uint32
		for i := q.head; i != 0; i = slots[i].next {
			forward = append(forward, i)
		}
		for i := q.tail; i != 0; i = slots[i].previous {
			backward = append(backward, i)
		}
		slices.Reverse(backward)
		if !slices.Equal(forward, model) || !slices.Equal(backward, model) {
			t.Fatalf("after %d steps %v, backwards %v, expected %v", now+1, forward, backward, model)
		}
	}
}

// Every source is taken once before the first comes again.
func TestPorts(t *testing.T) {
	for _, sources := range [][]netip.Addr{
		{netip.MustParseAddr("192.0.2.1")},
		{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.2"), netip.MustParseAddr("192.0.2.3")},
		{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")},
	} {
		const low, count = 65500, 36
		p, err := newPorts(sources, low, count)
		if err != nil {
			t.Fatal(err)
		}
		taken := map[netip.AddrPort]int{}
		var order []netip.AddrPort
		all := len(sources) * count
		for n := range 3 * all {
			var source netip.AddrPort
			switch a := p.take().(type) {
			case *unix.SockaddrInet4:
				source = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
			case *unix.SockaddrInet6:
				source = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
			}
			if source.Port() < low {
				t.Fatalf("%v is none of ours", source)
			}
			taken[source]++
			if order = append(order, source); n >= all && order[n-all] != source {
				t.Fatalf("%v came before its turn", source)
			}
		}
		if len(taken) != all {
			t.Errorf("%d sources of %d were taken", len(taken), all)
		}
	}
}
