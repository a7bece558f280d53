package flowtable

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// A script is segments of six octets each: who, flags, time since the last,
// sequence and acknowledgement number as distances from where the ends are,
// and payload.
const scriptStep = 6

var scriptFlags = [...]uint8{
	fA, fA, fPA, fPA, fS, fSA, fFA, fFA, fF, fR, fRA, fS | fF, fS | fR, fSA | fF, fFA | fR, 0,
	fA | segment.URG, fPA, fFA | fPA, fA, fSA, fS, fA, fFA,
}

var scriptWaits = [...]time.Duration{
	0, 1, 1000, time.Millisecond, time.Second, 9 * time.Second, 30 * time.Second, 30*time.Second + 1,
	time.Minute, time.Minute + 1, 5 * time.Minute, 5*time.Minute + 1, 2 * time.Minute, 2*time.Minute + 1,
	-1, -1000, -time.Millisecond, -time.Second, 59 * time.Second, 31 * time.Second, 1, 1, 1, 1, time.Hour,
	61 * time.Second, 2, 3, 4, 5, 6, 7,
}

// segments reads a script.
func segments(script []byte) (list []segment.Segment) {
	conversations := [...]conversation{between(40000, 443), between(443, 40001), wrapping(1<<32-20, 1<<31-20), between(700, 800)}
	var next [len(conversations)][2]uint32
	now := int64(time.Hour)
	for ; len(script) >= scriptStep && len(list) < 60; script = script[scriptStep:] {
		tuple, side := script[0]>>1%uint8(len(conversations)), script[0]&1
		n := &next[tuple]
		st := step{from: Party(1 + side), flags: scriptFlags[int(script[1])%len(scriptFlags)], payload: uint32(script[5] % 64)}
		st.seq = n[side] + uint32(int32(int8(script[3]))/16)
		st.ack = n[1-side] + uint32(int32(int8(script[4]))/16)
		if st.flags&fS != 0 {
			st.seq, st.payload = uint32(script[3]&3/3)*1000, st.payload/60
		}
		g := conversations[tuple].segment(st)
		now += int64(scriptWaits[int(script[2])%len(scriptWaits)])
		g.At = now
		list = append(list, *g)
		end := st.seq + st.payload
		if st.flags&(fS|fF) != 0 {
			end++
		}
		if int32(end-n[side]) > 0 || st.flags&fS != 0 {
			n[side] = end
		}
	}
	return list
}

// runScript feeds a script to a table and to the model, and compares.
func runScript(t *testing.T, script []byte) {
	t.Helper()
	timeouts := ReplayTimeouts()
	b := newBench(t, Config{MaxFlows: 16, Timeouts: timeouts})
	b.lax = true
	// Not keyed at random, so that a script takes the same way every time.
	b.hashes = hashing(func(k *segment.Key) uint64 { return uint64(k.LowPort) * 0x9e3779b97f4a7c15 })
	m := newModel(timeouts)
	list := segments(script)
	for i := range list {
		if m.ambiguous(&list[i]) {
			continue
		}
		m.feed(list[i])
		s := list[i]
		b.feed(&s)
	}
	if err := b.invariants(); err != nil {
		t.Fatal(err)
	}
	doubtful := m.flush(EndCaptureEnd)
	b.Flush(EndCaptureEnd)
	if err := b.invariants(); err != nil {
		t.Fatal(err)
	}
	if late := b.Stats().Late.Load(); late != m.late {
		t.Errorf("%d segments are late, not %d", late, m.late)
	}
	serials := map[uint64]bool{}
	for _, r := range b.records {
		key, _ := segment.KeyOf(&segment.Segment{
			Src: r.Client.Address, Dst: r.Server.Address, SrcPort: r.Client.Port, DstPort: r.Server.Port,
		})
		if len(m.records[key]) == 0 {
			t.Fatalf("a record too many: %+v", r)
		}
		want := m.records[key][0]
		m.records[key] = m.records[key][1:]
		if serials[r.Serial] {
			t.Fatalf("serial %d twice", r.Serial)
		}
		serials[r.Serial] = true
		if len(m.records[key]) == 0 && doubtful[key] && r.EndReason == EndIdleTimeout {
			want.EndReason = r.EndReason
		}
		if want.Serial = r.Serial; r != want {
			t.Fatalf("records differ:\n got %s %s\n     %+v\nwant %s %s\n     %+v", story(&r), counts(&r), r, story(&want), counts(&want), want)
		}
	}
	for _, more := range m.records {
		if len(more) > 0 {
			t.Fatalf("a record is missing: %+v", more[0])
		}
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("\x00\x04\x03\x00\x00\x00" + "\x01\x05\x03\x00\x00\x00" + "\x00\x00\x03\x00\x00\x00" +
		"\x00\x06\x03\x00\x00\x05" + "\x01\x06\x03\x00\x00\x05" + "\x00\x00\x03\x00\x00\x00"))
	f.Add([]byte("\x02\x04\x03\x00\x00\x00" + "\x03\x09\x03\x00\x00\x00" + "\x02\x04\x04\x03\x00\x00"))
	f.Add([]byte("\x01\x0a\x03\x00\x00\x00" + "\x00\x04\x0f\x00\x00\x00")) // a RST overtakes its SYN
	f.Fuzz(runScript)
}

// TestScripts runs random scripts, so that the model is asked in every run of
// the tests.
func TestScripts(t *testing.T) {
	n := 4000
	if testing.Short() {
		n = 400
	}
	f := rand.New(rand.NewPCG(11, 12))
	for range n {
		script := make([]byte, scriptStep*(1+f.IntN(60)))
		for i := range script {
			script[i] = byte(f.Uint32())
		}
		tame := f.IntN(3)
		for i := 0; i < len(script); i += scriptStep {
			if tame > 0 { // numbers as they should be, and few tuples
				script[i] &= 3
				script[i+3], script[i+4] = 0, 0
			}
			if tame > 1 {
				script[i+2] &= 3
			}
		}
		runScript(t, script)
		if t.Failed() {
			t.Fatalf("script %q", script)
		}
	}
}
