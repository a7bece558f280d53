package conntrack

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// message is an entry as the kernel tells it.
func message(e entry, protocol uint8) []byte {
	tuple := func(kind uint16, source, destination [16]byte, sourcePort, destinationPort uint16) []byte {
		addresses := nl.NewRtAttr(nl.CTA_TUPLE_IP|int(nl.NLA_F_NESTED), nil)
		for i, a := range [][16]byte{source, destination} {
			if ip := netip.AddrFrom16(a); ip.Is4In6() {
				addresses.AddRtAttr(nl.CTA_IP_V4_SRC+i, ip.Unmap().AsSlice())
			} else {
				addresses.AddRtAttr(nl.CTA_IP_V6_SRC+i, ip.AsSlice())
			}
		}
		ports := nl.NewRtAttr(nl.CTA_TUPLE_PROTO|int(nl.NLA_F_NESTED), nil)
		ports.AddRtAttr(nl.CTA_PROTO_NUM, []byte{protocol})
		ports.AddRtAttr(nl.CTA_PROTO_SRC_PORT, []byte{byte(sourcePort >> 8), byte(sourcePort)})
		ports.AddRtAttr(nl.CTA_PROTO_DST_PORT, []byte{byte(destinationPort >> 8), byte(destinationPort)})
		whole := nl.NewRtAttr(int(kind|nl.NLA_F_NESTED), nil)
		whole.AddChild(addresses)
		whole.AddChild(ports)
		return whole.Serialize()
	}
	b := []byte{unix.AF_INET, nl.NFNETLINK_V0, 0, 0}
	b = append(b, nl.NewRtAttr(nl.CTA_STATUS, []byte{0, 0, 1, 8}).Serialize()...)
	b = append(b, tuple(nl.CTA_TUPLE_ORIG, e.inner.Client, e.inner.Server, e.inner.ClientPort, e.inner.ServerPort)...)
	return append(b, tuple(nl.CTA_TUPLE_REPLY, e.outer.Server, e.outer.Client, e.outer.ServerPort, e.outer.ClientPort)...)
}

func tupleOf(client, server string) segment.Tuple {
	c, s := netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)
	return segment.Tuple{Client: c.Addr().As16(), Server: s.Addr().As16(), ClientPort: c.Port(), ServerPort: s.Port()}
}

var (
	masqueraded = entry{tupleOf("10.0.0.7:40000", "192.0.2.80:443"), tupleOf("198.51.100.1:61000", "192.0.2.80:443")}
	forwarded   = entry{tupleOf("[2001:db8::7]:40000", "[2001:db8:1::1]:80"), tupleOf("[2001:db8::7]:40000", "[2001:db8:2::9]:8080")}
	plain       = entry{masqueraded.inner, masqueraded.inner}
)

func TestParse(t *testing.T) {
	for _, want := range []entry{masqueraded, forwarded, plain} {
		var got entry
		whole := message(want, unix.IPPROTO_TCP)
		if !got.parse(whole) || got != want || got.translated() != (want != plain) {
			t.Errorf("parsed %+v, want %+v", got, want)
		}
		if got.parse(message(want, unix.IPPROTO_UDP)) {
			t.Error("UDP is taken for TCP")
		}
		for n := range whole { // cut short, it is refused or the attributes that are there say all
			if cut := new(entry); cut.parse(whole[:n]) {
				t.Errorf("an entry of %d of %d octets is taken", n, len(whole))
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(masqueraded, unix.IPPROTO_TCP))
	f.Add(message(forwarded, unix.IPPROTO_TCP))
	f.Fuzz(func(_ *testing.T, octets []byte) { new(entry).parse(octets) })
}

func newMemory(t *testing.T, room int) *translations {
	t.Helper()
	m, err := newTranslations(room, &Stats{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOther(t *testing.T) {
	m := newMemory(t, 4)
	m.follow(nl.IPCTNL_MSG_CT_NEW, message(masqueraded, unix.IPPROTO_TCP))
	m.follow(nl.IPCTNL_MSG_CT_NEW, message(forwarded, unix.IPPROTO_TCP))
	for _, e := range []entry{masqueraded, forwarded} {
		for _, c := range [][2]segment.Tuple{{e.inner, e.outer}, {e.outer, e.inner}, {e.inner.Reversed(), e.outer.Reversed()}, {e.outer.Reversed(), e.inner.Reversed()}} {
			if got, ok := m.other(c[0]); !ok || got != c[1] {
				t.Errorf("the other tuple of %v is %v, known %v, want %v", c[0], got, ok, c[1])
			}
		}
	}
	if got, ok := m.other(tupleOf("10.0.0.7:40001", "192.0.2.80:443")); ok {
		t.Errorf("a tuple of nobody's has another one: %v", got)
	}
	// One that is over is still known, until its tuple is used without translation.
	m.follow(nl.IPCTNL_MSG_CT_DELETE, message(masqueraded, unix.IPPROTO_TCP))
	if got, ok := m.other(masqueraded.inner); !ok || got != masqueraded.outer || m.stats.Known.Load() != 1 {
		t.Errorf("after its end the other tuple is %v, known %v, %d are there", got, ok, m.stats.Known.Load())
	}
	m.follow(nl.IPCTNL_MSG_CT_NEW, message(plain, unix.IPPROTO_TCP))
	if got, ok := m.other(masqueraded.inner); ok {
		t.Errorf("a connection that is not translated has another tuple: %v", got)
	}
	if n := testing.AllocsPerRun(100, func() { m.other(forwarded.outer) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// After a reading of the whole table, what is not in it is over.
func TestReading(t *testing.T) {
	m := newMemory(t, 4)
	m.follow(nl.IPCTNL_MSG_CT_NEW, message(masqueraded, unix.IPPROTO_TCP))
	reading := m.beginReading()
	m.found(message(plain, unix.IPPROTO_TCP))
	during := entry{tupleOf("10.0.0.8:1", "192.0.2.80:443"), tupleOf("198.51.100.1:1", "192.0.2.80:443")}
	m.follow(nl.IPCTNL_MSG_CT_NEW, message(during, unix.IPPROTO_TCP))
	m.found(message(forwarded, unix.IPPROTO_TCP))
	m.endReading(reading)
	if m.live.size != 2 || m.over.size != 1 || m.slots[m.over.oldest].entry != masqueraded {
		t.Errorf("%d are there and %d over, want 2 and 1", m.live.size, m.over.size)
	}
}

// modelled is the same memory as two lists, the oldest first.
type modelled struct{ live, over []entry }

func (m *modelled) add(e entry, room int) {
	if m.drop(e); len(m.live)+len(m.over) == room {
		if len(m.over) > 0 {
			m.over = m.over[1:]
		} else {
			m.live = m.live[1:]
		}
	}
	m.live = append(m.live, e)
}

func (m *modelled) drop(e entry) {
	m.live = slices.DeleteFunc(m.live, func(o entry) bool { return o == e })
	m.over = slices.DeleteFunc(m.over, func(o entry) bool { return o == e })
}

// TestTranslationsModel plays reports at random to both.
func TestTranslationsModel(t *testing.T) {
	f := rand.New(rand.NewPCG(3, 4))
	const room = 7
	m, model := newMemory(t, room), &modelled{}
	draw := func() segment.Tuple {
		return segment.Tuple{Client: [16]byte{15: byte(f.IntN(3))}, Server: [16]byte{15: byte(f.IntN(2))}, ClientPort: uint16(f.IntN(3))}
	}
	for step := range 50_000 {
		e := entry{draw(), draw()}
		switch f.IntN(4) {
		case 0, 1:
			if e.translated() {
				m.add(&e)
				model.add(e, room)
			}
		case 2:
			if slot := m.find(&e); slot != 0 && !m.slots[slot].over {
				m.end(slot)
				model.drop(e)
				model.over = append(model.over, e)
			}
		case 3:
			if f.IntN(4) == 0 {
				m.forget(&e.inner)
				gone := func(o entry) bool { return o.inner == e.inner || o.outer == e.inner }
				model.live, model.over = slices.DeleteFunc(model.live, gone), slices.DeleteFunc(model.over, gone)
			}
		}
		for name, c := range map[string]struct {
			list list
			want []entry
		}{"live": {m.live, model.live}, "over": {m.over, model.over}} {
			var got []entry
			for slot := c.list.oldest; slot != 0; slot = m.slots[slot].younger {
				got = append(got, m.slots[slot].entry)
			}
			if !slices.Equal(got, c.want) || c.list.size != len(c.want) {
				t.Fatalf("step %d: %s: %v, want %v", step, name, got, c.want)
			}
		}
		known := func(o entry) bool {
			return e.inner == o.inner || e.inner == o.outer || e.inner == o.inner.Reversed() || e.inner == o.outer.Reversed()
		}
		want := slices.ContainsFunc(model.live, known) || slices.ContainsFunc(model.over, known)
		if _, ok := m.other(e.inner); ok != want {
			t.Fatalf("step %d: %v is known: %v, want %v", step, e.inner, ok, want)
		}
	}
}
