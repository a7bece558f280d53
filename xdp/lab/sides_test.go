package lab

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// twoSides is what was done and the rows of both sides that meet it.
func twoSides() (Expectation, []Flow) {
	e, lan := agreeing()
	for _, c := range []*Counts{&e.Counts, &lan.Counts} {
		c.ClientFINRepeats, c.ServerFINRepeats = new(uint64(0)), new(uint64(0))
	}
	e.Outside = e.Tuple
	e.Outside.ClientIP, e.Outside.ClientPort = netip.MustParseAddr("198.19.0.254"), 50000
	at := func(ms int) *time.Time { return new(time.Unix(1000, int64(ms)*1e6).UTC()) }
	later := func(t *time.Time, d time.Duration) *time.Time { return new(t.Add(d)) }
	lan.SYNAt, lan.SYNACKAt, lan.FIN1At, lan.ACK1At, lan.FIN2At, lan.ACK2At = at(0), at(1), at(10), at(20), at(2030), at(2040)
	lan.RSTAt, lan.RSTBy = nil, Nobody
	const took = 7 * time.Microsecond
	wan := lan
	wan.Tuple = e.Outside
	fromClient, fromServer := []**time.Time{&wan.SYNAt}, []**time.Time{&wan.SYNACKAt}
	byFirst, bySecond := []**time.Time{&wan.FIN1At, &wan.ACK2At}, []**time.Time{&wan.ACK1At, &wan.FIN2At}
	if lan.Initiator == ServerParty {
		byFirst, bySecond = bySecond, byFirst
	}
	for _, t := range append(fromClient, byFirst...) {
		*t = later(*t, took)
	}
	for _, t := range append(fromServer, bySecond...) {
		*t = later(*t, -took)
	}
	lan.FlowID, wan.FlowID = "lan", "wan"
	lan.Interface, wan.Interface = LANInterface, WANInterface
	other := func(id string, faces Party, t Tuple) OtherSide {
		ns := func() *int64 { return new(int64(took)) }
		return OtherSide{
			Faces: faces, PeerFlowID: &id,
			NATClientIP: new(t.ClientIP.String()), NATClientPort: &t.ClientPort,
			NATServerIP: new(t.ServerIP.String()), NATServerPort: &t.ServerPort,
			SYNTransit: ns(), SYNACKTransit: ns(), FIN1Transit: ns(), ACK1Transit: ns(), FIN2Transit: ns(), ACK2Transit: ns(),
		}
	}
	lan.OtherSide, wan.OtherSide = other("wan", ClientParty, wan.Tuple), other("lan", ServerParty, lan.Tuple)
	return e, []Flow{lan, wan}
}

// A row that does not tell what the other one says is found by the field's name.
func TestCompareSides(t *testing.T) {
	e, rows := twoSides()
	if report := Compare(OnBothSides([]Expectation{e}), rows); !report.OK() || report.Connections != 2 {
		t.Fatalf("two sides that agree: %+v", report)
	}
	for field, change := range map[string]func(f *Flow){
		"interface_faces":    func(f *Flow) { f.Faces = ServerParty },
		"peer_flow_id":       func(f *Flow) { f.PeerFlowID = nil },
		"nat_client_ip":      func(f *Flow) { f.NATClientIP = nil },
		"nat_client_port":    func(f *Flow) { *f.NATClientPort++ },
		"nat_server_ip":      func(f *Flow) { f.NATServerIP = new("192.0.2.1") },
		"nat_server_port":    func(f *Flow) { f.NATServerPort = nil },
		"syn_transit_ns":     func(f *Flow) { f.SYNTransit = nil },
		"syn_ack_transit_ns": func(f *Flow) { *f.SYNACKTransit++ },
		"fin1_transit_ns":    func(f *Flow) { *f.FIN1Transit = -*f.FIN1Transit },
		"ack1_transit_ns":    func(f *Flow) { f.ACK1Transit = nil },
		"fin2_transit_ns":    func(f *Flow) { *f.FIN2Transit-- },
		"ack2_transit_ns":    func(f *Flow) { f.ACK2Transit = nil },
		"rst_transit_ns":     func(f *Flow) { f.RSTTransit = new(int64(1)) },
	} {
		e, rows := twoSides()
		change(&rows[0])
		report := Compare(OnBothSides([]Expectation{e}), rows)
		found := report.Scenarios[0].Disagreements
		if report.OK() || report.Agreed != 1 || len(found) != 1 || found[0].Field != field {
			t.Errorf("%s: %+v", field, found)
		}
	}
}

// A side that is missing is missing; where nobody else saw a connection, no other
// side is expected.
func TestCompareOneSide(t *testing.T) {
	e, rows := twoSides()
	report := Compare(OnBothSides([]Expectation{e}), rows[:1])
	if report.OK() || len(report.Scenarios[0].Missing) != 1 {
		t.Errorf("a missing side: %+v", report)
	}
	e.Outside = Tuple{}
	alone := slices.Clone(rows[:1])
	alone[0].OtherSide = OtherSide{}
	if report := Compare(OnBothSides([]Expectation{e}), alone); !report.OK() {
		t.Errorf("a connection on one side: %+v", report)
	}
	if report := Compare(OnBothSides([]Expectation{e}), rows[:1]); report.OK() {
		t.Error("an other side that nobody expects is taken")
	}
}
