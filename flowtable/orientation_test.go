package flowtable

import (
	"testing"

	"github.com/finwait/finwait/flowtable/segment"
)

func TestOrientation(t *testing.T) {
	high, web := between(40000, 50000), between(40000, 443)
	low, both := between(443, 40000), between(443, 80)
	for _, test := range []struct {
		name  string
		v     conversation
		steps []step
		by    OrientedBy
		port  uint16 // of the client
	}{
		{"SYN", high, []step{{0, c, fS, 0, 0, 0}}, BySYN, 40000},
		{"SYN from the port below 1024", low, []step{{0, c, fS, 0, 0, 0}}, BySYN, 443},
		{"SYN with ECN", high, []step{{0, c, fS | segment.ECE | segment.CWR, 0, 0, 0}}, BySYN, 40000},
		{"SYN with FIN", high, []step{{0, c, fS | fF, 0, 0, 0}}, BySYN, 40000},
		{"SYN-ACK first", high, []step{{0, s, fSA, 0, 1, 0}}, BySYNACK, 40000},
		{"SYN-ACK before its SYN", high, []step{{0, s, fSA, 0, 1, 0}, {1, c, fS, 0, 0, 0}}, BySYNACK, 40000},
		{"ACK before the SYN-ACK", high, []step{{0, s, fA, 1, 1, 0}, {1, s, fSA, 0, 1, 0}}, BySYNACK, 40000},
		{"midway, from the server", web, []step{{0, s, fA, 1, 1, 0}}, ByPort, 40000},
		{"midway, from the client", web, []step{{0, c, fA, 1, 1, 0}}, ByPort, 40000},
		{"midway, both ports high", high, []step{{0, s, fA, 1, 1, 0}, {1, c, fA, 1, 1, 0}}, ByFirst, 50000},
		{"midway, both ports low", both, []step{{0, s, fA, 1, 1, 0}}, ByFirst, 80},
		{"port 1023", between(1024, 1023), []step{{0, s, fA, 1, 1, 0}}, ByPort, 1024},
		{"port 1024", between(1025, 1024), []step{{0, s, fA, 1, 1, 0}}, ByFirst, 1024},
		{"RST alone", web, []step{{0, s, fR, 1, 0, 0}}, ByPort, 40000},
		{"SYN with RST is no SYN", high, []step{{0, s, fS | fR, 1, 0, 0}}, ByFirst, 50000},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := replay(t, test.v, test.steps...)
			if r.OrientedBy != test.by || r.Client.Port != test.port {
				t.Errorf("client port %d by %v, not %d by %v", r.Client.Port, r.OrientedBy, test.port, test.by)
			}
			if test.v.clientPort == r.Client.Port && (r.Client.Address != test.v.client || r.Server.Address != test.v.server) {
				t.Error("the addresses do not go with the ports")
			}
		})
	}
}

func TestSameAddresses(t *testing.T) {
	v := between(40000, 443)
	v.server = v.client // through a loopback
	r := replay(t, v, kindTests[0].steps...)
	if got := story(r); got != kindTests[0].story {
		t.Errorf("got %s", got)
	}
}

func TestEvidence(t *testing.T) {
	v := between(40000, 443)
	for _, test := range []struct {
		name  string
		steps []step
		want  Evidence
	}{
		{"full", opened, Full},
		{"midstream", opened[3:], Midstream},
		{"SYN not seen", opened[1:], Midstream},
		{"only the client", opened[:1], OneSided},
		{"only the server", opened[1:2], OneSided},
	} {
		if r := replay(t, v, test.steps...); r.Evidence != test.want {
			t.Errorf("%s: evidence is %v", test.name, r.Evidence)
		}
	}
}

func TestLossyEvidence(t *testing.T) {
	b := newBench(t, Config{Timeouts: ReplayTimeouts()})
	b.play(between(1, 2), step{10, c, fS, 0, 0, 0})
	b.Lost(20 * ms)
	b.play(between(3, 4), step{30, c, fS, 0, 0, 0}, step{31, s, fRA, 0, 1, 0})
	b.Lost(15 * ms) // a loss that another queue noticed earlier
	full := between(5, 6)
	g := full.segment(step{40, c, fA, 0, 0, 0})
	g.Marks = segment.NoRoom
	b.feed(g)
	b.Flush(EndShutdown)
	for _, r := range b.records {
		want := Lossy
		if r.Client.Port == 3 {
			want = Full
		}
		if r.Evidence != want {
			t.Errorf("evidence of the connection from port %d is %v, not %v", r.Client.Port, r.Evidence, want)
		}
	}
}

func TestWhereSeen(t *testing.T) {
	v := between(40000, 443)
	first, second := v.segment(opened[0]), v.segment(opened[1])
	first.VLAN, first.Encapsulation.Layers[0] = 7, segment.LayerVLAN
	second.VLAN, second.Interface = 8, 9
	b := newBench(t, Config{Timeouts: ReplayTimeouts(), FirstSerial: 100})
	b.feed(first, second)
	b.Flush(EndShutdown)
	r := b.one()
	if r.VLAN != 7 || r.Interface != 3 || r.Encapsulation.String() != "vlan" || r.Serial != 100 {
		t.Errorf("VLAN %d, interface %d, encapsulation %q, serial %d", r.VLAN, r.Interface, r.Encapsulation, r.Serial)
	}
	if r.Client.TCPFlags != fS || r.Server.TCPFlags != fSA {
		t.Errorf("flags %#x and %#x", r.Client.TCPFlags, r.Server.TCPFlags)
	}
}
