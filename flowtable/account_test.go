package flowtable

import (
	"testing"

	"github.com/finwait/finwait/flowtable/segment"
)

func TestPayload(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps []step
		want  uint64 // of the client
	}{
		{"handshake", opened[:3], 0},
		{"once", opened, 10},
		{"retransmission", after(opened, step{5, c, fPA, 1, 1, 10}), 10},
		{"partial overlap", after(opened, step{5, c, fPA, 6, 1, 10}), 15},
		{"retransmission of less", after(opened, step{5, c, fPA, 4, 1, 2}), 10},
		{"gap", after(opened, step{5, c, fPA, 111, 1, 10}), 120},
		{"gap filled late", after(opened, step{5, c, fPA, 111, 1, 10}, step{6, c, fPA, 11, 1, 100}), 120},
		{"gap told by an ACK", after(opened, step{5, c, fA, 111, 1, 0}), 110},
		{"RST moves nothing", after(opened, step{5, c, fR, 5000, 0, 0}), 10},
		{"RST with text", after(opened, step{5, c, fR, 11, 0, 30}), 10},
		{"FIN moves nothing", after(opened, step{5, c, fFA, 11, 1, 0}), 10},
		{"FIN with data", after(opened, step{5, c, fFA, 11, 1, 4}), 14},
		{"FIN behind a gap", after(opened, step{5, c, fFA, 21, 1, 4}), 24},
		{"ACK after FIN", after(opened, step{5, c, fFA, 11, 1, 0}, step{6, c, fA, 12, 1, 0}), 10},
		{"data after FIN", after(opened, step{5, c, fFA, 11, 1, 0}, step{6, c, fPA, 12, 1, 100}), 10},
		{"SYN repeated with data", []step{{0, c, fS, 0, 0, 0}, {1, c, fS, 0, 0, 0}}, 0},
		{"SYN with data", []step{{0, c, fS, 0, 0, 5}, {1, s, fSA, 0, 6, 0}, {2, c, fPA, 6, 1, 10}}, 15},
		{"SYN with data that is sent again", []step{{0, c, fS, 0, 0, 5}, {1, s, fSA, 0, 1, 0}, {2, c, fPA, 1, 1, 10}}, 10},
		{"SYN repeated without its data", []step{{0, c, fS, 0, 0, 5}, {1, c, fS, 0, 0, 0}, {2, s, fSA, 0, 1, 0}, {3, c, fPA, 1, 1, 10}}, 10},
		{"joined midway", opened[3:], 10},
		{"keep-alive with an octet", after(opened, step{5, c, fA, 10, 1, 1}), 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, v := range []conversation{between(1, 2), wrapping(1<<32-1, 0), wrapping(1<<32-6, 0), wrapping(1<<31-6, 0)} {
				if r := replay(t, v, test.steps...); r.Client.Payload != test.want {
					t.Errorf("ISN %d: payload is %d, not %d", v.clientISN, r.Client.Payload, test.want)
				}
			}
		})
	}
}

// TestManyGiB sends more than the sequence space holds.
func TestManyGiB(t *testing.T) {
	const chunk = 1 << 30
	v := between(40000, 443)
	b := newBench(t, Config{Timeouts: ReplayTimeouts()})
	b.play(v, opened[:3]...)
	for i := range uint32(11) {
		b.play(v, step{int64(3 + i), c, fPA, 1 + i*chunk, 1, chunk})
	}
	b.play(v, step{20, s, fFA, 1, 1 + 11*(chunk&0xffffffff)%(1<<32), 0})
	b.Flush(EndCaptureEnd)
	if r := b.one(); r.Client.Payload != 11*chunk {
		t.Errorf("payload is %d, not %d", r.Client.Payload, 11*chunk)
	}
}

func TestOctetsArePlain(t *testing.T) {
	v := between(40000, 443)
	r := replay(t, v, opened...)
	if r.Client.Octets != 3*60+10 || r.Server.Octets != 2*60+20 {
		t.Errorf("octets are %d and %d", r.Client.Octets, r.Server.Octets)
	}
}

func TestRetransmitsSaturate(t *testing.T) {
	v := between(40000, 443)
	b := newBench(t, Config{})
	b.lax = true
	b.play(v, step{0, c, fS, 0, 0, 0})
	syn, fin := v.segment(step{1, c, fS, 0, 0, 0}), v.segment(step{1, c, fFA, 1, 1, 0})
	key, _ := segment.KeyOf(syn)
	hash := []uint64{b.hasher.Hash(&key)}
	for range 1000 {
		b.Update([]*segment.Segment{syn}, hash)
		b.Update([]*segment.Segment{fin}, hash)
	}
	b.Flush(EndShutdown)
	if r := b.one(); r.Client.SYNRetransmits != maxRepeats || r.Client.FINRetransmits != maxRepeats {
		t.Errorf("retransmits are %d and %d", r.Client.SYNRetransmits, r.Client.FINRetransmits)
	}
}
