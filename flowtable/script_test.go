package flowtable

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// Flags of a step, as they are written in packet dumps.
const (
	fS  = segment.SYN
	fSA = segment.SYN | segment.ACK
	fA  = segment.ACK
	fPA = segment.PSH | segment.ACK
	fF  = segment.FIN
	fFA = segment.FIN | segment.ACK
	fR  = segment.RST
	fRA = segment.RST | segment.ACK
)

// The senders of steps.
const (
	c = Client
	s = Server
)

const ms = int64(time.Millisecond)

// step is one segment of a conversation: seq is relative to its sender's
// initial sequence number, ack to the other's.
type step struct {
	at       int64 // ms
	from     Party
	flags    uint8
	seq, ack uint32
	payload  uint32
}

// conversation is where steps happen.
type conversation struct {
	client, server         [16]byte
	clientPort, serverPort uint16
	clientISN, serverISN   uint32
}

func address(last ...byte) (a [16]byte) {
	a[0], a[1] = 0x20, 0x01
	copy(a[16-len(last):], last)
	return a
}

func between(clientPort, serverPort uint16) conversation {
	return conversation{
		client: address(1), server: address(2), clientPort: clientPort, serverPort: serverPort,
		clientISN: 1000, serverISN: 5000,
	}
}

func (v *conversation) segment(st step) *segment.Segment {
	g := &segment.Segment{
		At: st.at * ms, Src: v.client, Dst: v.server, SrcPort: v.clientPort, DstPort: v.serverPort,
		Seq: v.clientISN + st.seq, Ack: v.serverISN + st.ack,
		Octets: 60 + st.payload, Payload: st.payload, TCPFlags: st.flags, Interface: 3,
	}
	if st.from == Server {
		g.Src, g.Dst, g.SrcPort, g.DstPort = g.Dst, g.Src, g.DstPort, g.SrcPort
		g.Seq, g.Ack = v.serverISN+st.seq, v.clientISN+st.ack
	}
	if st.flags&segment.ACK == 0 {
		g.Ack = 0
	}
	return g
}

// pile keeps every record that a table writes.
type pile struct {
	records []Record
	next    Record
}

func (p *pile) Next() *Record { return &p.next }
func (p *pile) Commit()       { p.records = append(p.records, p.next) }

// bench is a table, its records, and what feeds it.
type bench struct {
	testing.TB
	*Table
	*pile
	hasher segment.Hasher
	// lax switches the check of all invariants after every segment off.
	lax bool
}

func newBench(t testing.TB, config Config) *bench {
	t.Helper()
	b := &bench{TB: t, pile: &pile{}, hasher: segment.NewHasher()}
	if config.MaxFlows == 0 {
		config.MaxFlows = 64
	}
	if config.Records == nil {
		config.Records = b.pile
	}
	table, err := New(config, b.hasher)
	if err != nil {
		t.Fatal(err)
	}
	b.Table = table
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) feed(segments ...*segment.Segment) {
	b.Helper()
	for _, g := range segments {
		key, _ := segment.KeyOf(g)
		b.Update([]*segment.Segment{g}, []uint64{b.hashes.Hash(&key)})
		b.check()
	}
}

func (b *bench) play(v conversation, steps ...step) {
	b.Helper()
	for _, st := range steps {
		b.feed(v.segment(st))
	}
}

func (b *bench) advance(at time.Duration) {
	b.Helper()
	b.Advance(int64(at))
	b.check()
}

func (b *bench) check() {
	b.Helper()
	if b.lax {
		return
	}
	if err := b.invariants(); err != nil {
		b.Fatal(err)
	}
}

// one is the only record so far.
func (b *bench) one() *Record {
	b.Helper()
	if len(b.records) != 1 {
		b.Fatalf("%d records, not one", len(b.records))
	}
	return &b.records[0]
}

// live is the view of the only connection that is followed.
func (b *bench) live() Record {
	b.Helper()
	var views []Record
	if err := b.Connections(func(r *Record) bool {
		views = append(views, *r)
		return true
	}); err != nil {
		b.Fatal(err)
	}
	if len(views) != 1 {
		b.Fatalf("%d connections are followed, not one", len(views))
	}
	return views[0]
}

func (b *bench) same(what, got, want string) {
	b.Helper()
	if got != want {
		b.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// replay is the record of one conversation, by the defaults of a capture.
func replay(t *testing.T, v conversation, steps ...step) *Record {
	t.Helper()
	b := newBench(t, Config{Timeouts: ReplayTimeouts()})
	b.play(v, steps...)
	b.Flush(EndCaptureEnd)
	b.check()
	return b.one()
}

var momentNames = [Moments]string{"syn", "syn_ack", "est", "fin1", "ack1", "fin2", "ack2", "rst"}

// story is how a connection ended, in one line: kind, initiator, states of
// client and server, completeness, and the moments in ms.
func story(r *Record) string {
	var line strings.Builder
	fmt.Fprintf(&line, "%v %v %v/%v", r.CloseKind, r.Initiator, r.Client.State, r.Server.State)
	if r.Complete {
		line.WriteString(" complete")
	}
	for m := range Moment(Moments) {
		if at, ok := r.Time(m); ok {
			fmt.Fprintf(&line, " %s:%d", momentNames[m], at/ms)
		}
	}
	if r.RSTBy != Nobody {
		fmt.Fprintf(&line, " by %v", r.RSTBy)
	}
	return line.String()
}

// counts is what both sides sent: packets, payload, and repeats of SYN and FIN.
func counts(r *Record) string {
	side := func(e *Side) string {
		return fmt.Sprintf("%d/%d/%d/%d", e.Packets, e.Payload, e.SYNRetransmits, e.FINRetransmits)
	}
	return side(&r.Client) + " " + side(&r.Server)
}
