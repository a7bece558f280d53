package lab

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// agreeing is an expectation and the row that meets it in every field.
func agreeing() (Expectation, Flow) {
	tuple := Tuple{
		ClientIP: netip.MustParseAddr("198.18.0.1"), ClientPort: 40000,
		ServerIP: netip.MustParseAddr("198.18.0.2"), ServerPort: 7000,
	}
	one := func() *uint64 { return new(uint64(1)) }
	counts := func() Counts {
		return Counts{one(), one(), one(), one(), one(), one(), one(), one(), one(), one(), one()}
	}
	e := Expectation{
		Scenario: "half_close", Tuple: tuple, StartedNS: 1, CloseKinds: []string{kindThreeWay, kindFourWay},
		Initiator: ClientParty, Complete: true, OrientedBy: "syn", Evidence: "full", Counts: counts(),
		MinFIN1ToFIN2NS: int64(time.Second), VLAN: 7, Encapsulation: "vlan",
	}
	start := time.Unix(1700000000, 0)
	f := Flow{
		Tuple: tuple, OrientedBy: "syn", Evidence: "full", VLAN: 7, Encapsulation: "vlan", StartAt: &start, Counts: counts(),
		FIN1At: &start, ACK1At: &start, FIN2At: new(start.Add(time.Second)), ACK2At: new(start.Add(time.Second)),
		FINWait1NS: new(int64(5)), CloseKind: kindFourWay, Initiator: ClientParty, Complete: true,
		Accounting: accountingCounted,
	}
	return e, f
}

func TestCompareAgrees(t *testing.T) {
	e, f := agreeing()
	report := Compare([]Expectation{e}, []Flow{f})
	if !report.OK() || report.Agreed != 1 {
		t.Errorf("report %+v", report)
	}
	r := report.Scenarios[0]
	if r.FINWait1NS == nil || *r.FINWait1NS != 5 || r.CloseWaitNS != nil || r.CloseKinds[kindFourWay] != 1 {
		t.Errorf("result %+v", r)
	}
}

// TestCompareUnknown: what the ends do not know is not compared.
func TestCompareUnknown(t *testing.T) {
	e, f := agreeing()
	e.ClientPayload, e.ServerPackets, e.MinFIN1ToFIN2NS = nil, nil, 0
	*f.ClientPayload, f.ServerPackets, f.FIN2At = 99, nil, nil
	if report := Compare([]Expectation{e}, []Flow{f}); !report.OK() {
		t.Errorf("report %+v", report)
	}
}

// TestCompareBySequence: the payload is the same; packets and bytes must be null.
func TestCompareBySequence(t *testing.T) {
	counted, f := agreeing()
	expected := BySequence([]Expectation{counted})
	if report := Compare(expected, []Flow{f}); report.OK() {
		t.Error("a counted record is not one by sequence")
	}
	f.Accounting = accountingSequence
	for _, field := range []**uint64{&f.ClientPackets, &f.ServerPackets, &f.ClientOctets, &f.ServerOctets} {
		if report := Compare(expected, []Flow{f}); report.OK() {
			t.Error("packets or bytes are there that nobody counted")
		}
		*field = nil
	}
	if report := Compare(expected, []Flow{f}); !report.OK() {
		t.Errorf("report %+v", report)
	}
	if report := Compare([]Expectation{counted}, []Flow{f}); report.OK() {
		t.Error("a record by sequence is not a counted one")
	}
	*f.ServerPayload++
	if report := Compare(expected, []Flow{f}); report.OK() {
		t.Error("the payload is another")
	}
	counted.untold = ServerParty
	if report := Compare(BySequence([]Expectation{counted}), []Flow{f}); !report.OK() {
		t.Errorf("no control segment tells of the payload: %+v", report)
	}
	counted.untold = ClientParty
	if report := Compare(BySequence([]Expectation{counted}), []Flow{f}); report.OK() {
		t.Error("the other end's payload is another")
	}
}

// TestCompareResetAfterClose: a RST that ends nothing is no disagreement, one
// before the last acknowledgement is.
func TestCompareResetAfterClose(t *testing.T) {
	for after, agrees := range map[time.Duration]bool{time.Millisecond: true, -time.Millisecond: false} {
		e, f := agreeing()
		f.RSTBy, f.RSTAt = ServerParty, new(f.ACK2At.Add(after))
		if report := Compare([]Expectation{e}, []Flow{f}); report.OK() != agrees {
			t.Errorf("a RST %v after the last acknowledgement: agrees %v", after, report.OK())
		}
	}
}

// TestCompareFindsEveryDisagreement changes one field at a time.
func TestCompareFindsEveryDisagreement(t *testing.T) {
	for _, test := range []struct {
		field string
		spoil func(e *Expectation, f *Flow)
		seen  string
	}{
		{"close_kind", func(_ *Expectation, f *Flow) { f.CloseKind = kindReset }, kindReset},
		{"close_initiator", func(_ *Expectation, f *Flow) { f.Initiator = ServerParty }, `"server"`},
		{"rst_by", func(_ *Expectation, f *Flow) { f.RSTBy = ServerParty }, `"server"`},
		{"close_complete", func(_ *Expectation, f *Flow) { f.Complete = false }, `"false"`},
		{"oriented_by", func(_ *Expectation, f *Flow) { f.OrientedBy = "port" }, `"port"`},
		{"evidence", func(_ *Expectation, f *Flow) { f.Evidence = "lossy" }, `"lossy"`},
		{"vlan_id", func(_ *Expectation, f *Flow) { f.VLAN = 8 }, `"8"`},
		{"encapsulation", func(_ *Expectation, f *Flow) { f.Encapsulation = "" }, `""`},
		{"client_payload_bytes", func(_ *Expectation, f *Flow) { *f.ClientPayload = 2 }, "2"},
		{"server_payload_bytes", func(_ *Expectation, f *Flow) { f.ServerPayload = nil }, "null"},
		{"half_close_payload_bytes", func(_ *Expectation, f *Flow) { *f.HalfClosePayload = 2 }, "2"},
		{"client_packets", func(_ *Expectation, f *Flow) { *f.ClientPackets = 2 }, "2"},
		{"server_packets", func(_ *Expectation, f *Flow) { *f.ServerPackets = 2 }, "2"},
		{"client_bytes", func(_ *Expectation, f *Flow) { *f.ClientOctets = 2 }, "2"},
		{"server_bytes", func(_ *Expectation, f *Flow) { *f.ServerOctets = 2 }, "2"},
		{"client_fin_retransmits", func(_ *Expectation, f *Flow) { *f.ClientFINRepeats = 0 }, "0"},
		{"server_fin_retransmits", func(_ *Expectation, f *Flow) { *f.ServerFINRepeats = 0 }, "0"},
		{"client_syn_retransmits", func(_ *Expectation, f *Flow) { *f.ClientSYNRepeats = 0 }, "0"},
		{"server_syn_ack_retransmits", func(_ *Expectation, f *Flow) { *f.ServerSYNACKRepeats = 0 }, "0"},
		{"reuse_after_ns", func(_ *Expectation, f *Flow) { f.ReuseAfterNS = new(int64(3)) }, "3"},
		{"reuse_after_ns", func(e *Expectation, _ *Flow) { e.Reuse = true }, "null"},
		{"reuse_after_ns", func(e *Expectation, f *Flow) { e.Reuse, f.ReuseAfterNS = true, new(int64(twoMSL)) }, "60000000000"},
		{"fin2_at - fin1_at", func(_ *Expectation, f *Flow) { f.FIN2At = new(f.FIN1At.Add(time.Millisecond)) }, "1000000 ns"},
		{"fin2_at - fin1_at", func(_ *Expectation, f *Flow) { f.FIN2At = nil }, "null"},
		{"ack1_at", func(_ *Expectation, f *Flow) { f.ACK1At = nil }, "null"},
		{"ack2_at", func(_ *Expectation, f *Flow) { f.ACK2At = nil }, "null"},
		{"accounting", func(_ *Expectation, f *Flow) { f.Accounting = accountingSequence }, `"sequence"`},
		{"oriented_by", func(_ *Expectation, f *Flow) { f.OrientedBy = "syn_ack" }, `"syn_ack"`},
	} {
		e, f := agreeing()
		test.spoil(&e, &f)
		report := Compare([]Expectation{e}, []Flow{f})
		found := report.Scenarios[0].Disagreements
		if report.OK() || report.Agreed != 0 || len(found) != 1 || found[0].Field != test.field || found[0].Seen != test.seen {
			t.Errorf("%s, seen %s: report %+v", test.field, test.seen, report)
		}
	}
}

func TestCompareMissingAndExtra(t *testing.T) {
	e, f := agreeing()
	report := Compare([]Expectation{e}, nil)
	if report.OK() || len(report.Scenarios[0].Missing) != 1 {
		t.Errorf("a missing record: %+v", report)
	}
	if report = Compare([]Expectation{e}, []Flow{f, f}); report.OK() || len(report.Extra) != 1 || report.Agreed != 1 {
		t.Errorf("one record too many: %+v", report)
	}
	g := f
	g.ClientPort++
	if report = Compare([]Expectation{e}, []Flow{g, f}); report.OK() || len(report.Extra) != 1 || report.Extra[0] != g.Tuple {
		t.Errorf("a record of nothing: %+v", report)
	}
	if report = Compare(nil, nil); report.OK() {
		t.Error("nothing compared is not agreement")
	}
}

// TestCompareOrder: a tuple's records go with its connections by start.
func TestCompareOrder(t *testing.T) {
	first, f1 := agreeing()
	second, f2 := agreeing()
	second.StartedNS, second.Reuse = 2, true
	f2.StartAt, f2.ReuseAfterNS = new(f1.StartAt.Add(time.Second)), new(int64(20))
	if report := Compare([]Expectation{second, first}, []Flow{f2, f1}); !report.OK() {
		t.Errorf("report %+v", report)
	}
}

func TestParseFlows(t *testing.T) {
	flows, err := ParseFlows([]byte(`{"flows":[
		{"client_ip":"2001:2::1","client_port":1,"server_ip":"2001:2::2","server_port":2,"encapsulation":"qinq","start_at":"2026-01-02T03:04:05.000000006Z",
		 "rst_by":null,"client_packets":null,"reuse_after_ns":7,"close_kind":"four_way","half_close_payload_bytes":18446744073709551615},
		{"encapsulation":["vlan","vxlan:5001"]},{"encapsulation":null}],"next":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	f := flows[0]
	if f.String() != "[2001:2::1]:1 > [2001:2::2]:2" || f.Encapsulation != "qinq" || f.StartAt.Nanosecond() != 6 ||
		f.RSTBy != Nobody || f.ClientPackets != nil || *f.ReuseAfterNS != 7 || *f.HalfClosePayload != 1<<64-1 {
		t.Errorf("flow %+v", f)
	}
	if flows[1].Encapsulation != "vlan,vxlan:5001" || flows[2].Encapsulation != "" {
		t.Errorf("encapsulations %q, %q", flows[1].Encapsulation, flows[2].Encapsulation)
	}
	for _, wrong := range []string{"", "{}", `{"flows":null}`, `{"flows":[{"encapsulation":3}]}`, `{"flows":[{"client_ip":"nobody"}]}`} {
		if _, err := ParseFlows([]byte(wrong)); err == nil {
			t.Errorf("%q was read", wrong)
		}
	}
}

func TestReportForms(t *testing.T) {
	e, f := agreeing()
	f.CloseKind = kindReset
	report := Compare([]Expectation{e, e}, []Flow{f})
	var table strings.Builder
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"client closes its half, server sends on, then closes", "expected [three_way four_way], seen reset",
		"no record of it", "0 of 2 connections agree", "did NOT",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
	if err := report.WriteTable(deaf{}); !errors.Is(err, errDeaf) {
		t.Errorf("error of the writer: %v", err)
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"agreed":0`, `"close_kinds":{"reset":1}`, `"field":"close_kind"`, `"client_port":40000`, `"extra":[]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the JSON form lacks %s: %s", want, text)
		}
	}
}

var errDeaf = errors.New("deaf")

type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, errDeaf }
