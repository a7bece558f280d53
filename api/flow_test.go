package api_test

import (
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/flowtable"
)

const fourWayJSON = `{
"flow_id":"000g40o40k30e0000000000004","client_ip":"2001:db8:1::6","client_port":40000,"server_ip":"2001:db8:ffff::1","server_port":443,
"oriented_by":"syn","vlan_id":100,"encapsulation":"qinq,mpls","interface":"eth1","evidence":"full",
"start_at":"2023-11-14T22:13:20.000000000Z","end_at":"2023-11-14T22:13:20.009000000Z",
"client_packets":7,"server_packets":5,"client_bytes":1570,"server_bytes":5000000000,
"client_payload_bytes":1234,"server_payload_bytes":4999999000,"client_tcp_flags":27,"server_tcp_flags":19,"accounting":"counted",
"syn_at":"2023-11-14T22:13:20.000000000Z","syn_ack_at":"2023-11-14T22:13:20.001000001Z","established_at":"2023-11-14T22:13:20.001500001Z",
"client_syn_retransmits":1,"server_syn_ack_retransmits":2,"server_handshake_ns":1000001,"client_handshake_ns":500000,
"fin1_at":"2023-11-14T22:13:20.005000000Z","ack1_at":"2023-11-14T22:13:20.006000000Z",
"fin2_at":"2023-11-14T22:13:20.008000000Z","ack2_at":"2023-11-14T22:13:20.009000000Z","rst_at":null,"rst_by":"",
"fin_wait_1_ns":1000000,"close_wait_ns":2000000,"last_ack_ns":1000000,"teardown_ns":4000000,
"half_close_payload_bytes":17,"client_fin_retransmits":0,"server_fin_retransmits":3,"reuse_after_ns":59000000000,
"client_state":"CLOSED","server_state":"TIME-WAIT",
"close_initiator":"server","close_kind":"four_way","close_complete":true,"end_reason":"closed","slice":0}`

const refusedJSON = `{
"flow_id":"000g40o40k30e0000000000008","client_ip":"10.0.0.1","client_port":33036,"server_ip":"192.0.2.9","server_port":5672,
"oriented_by":"syn","vlan_id":0,"encapsulation":"","interface":"7","evidence":"full",
"start_at":"1970-01-01T00:00:00.000000000Z","end_at":"1970-01-01T00:00:00.000040000Z",
"client_packets":1,"server_packets":1,"client_bytes":60,"server_bytes":40,
"client_payload_bytes":0,"server_payload_bytes":0,"client_tcp_flags":2,"server_tcp_flags":20,"accounting":"counted",
"syn_at":"1970-01-01T00:00:00.000000000Z","syn_ack_at":null,"established_at":null,
"client_syn_retransmits":0,"server_syn_ack_retransmits":0,"server_handshake_ns":null,"client_handshake_ns":null,
"fin1_at":null,"ack1_at":null,"fin2_at":null,"ack2_at":null,"rst_at":"1970-01-01T00:00:00.000040000Z","rst_by":"server",
"fin_wait_1_ns":null,"close_wait_ns":null,"last_ack_ns":null,"teardown_ns":null,
"half_close_payload_bytes":null,"client_fin_retransmits":0,"server_fin_retransmits":0,"reuse_after_ns":null,
"client_state":"CLOSED","server_state":"CLOSED",
"close_initiator":"server","close_kind":"refused","close_complete":true,"end_reason":"closed","slice":0}`

const halfClosedJSON = `{
"flow_id":"000g40o40k30f0000000000000","client_ip":"10.0.0.2","client_port":1000,"server_ip":"10.0.0.3","server_port":2000,
"oriented_by":"first","vlan_id":0,"encapsulation":"","interface":"a \"quoted\" <name>\ufffd\u2028.pcap","evidence":"lossy",
"start_at":"2023-11-14T22:13:20.000000000Z","end_at":"2023-11-14T22:13:20.000000003Z",
"client_packets":null,"server_packets":null,"client_bytes":null,"server_bytes":null,
"client_payload_bytes":10,"server_payload_bytes":20,"client_tcp_flags":0,"server_tcp_flags":0,"accounting":"sequence",
"syn_at":"2023-11-14T22:13:20.000000001Z","syn_ack_at":"2023-11-14T22:13:20.000000000Z","established_at":null,
"client_syn_retransmits":0,"server_syn_ack_retransmits":0,"server_handshake_ns":null,"client_handshake_ns":null,
"fin1_at":"2023-11-14T22:13:20.000000001Z","ack1_at":null,"fin2_at":null,"ack2_at":null,
"rst_at":"2023-11-14T22:13:20.000000003Z","rst_by":"client",
"fin_wait_1_ns":null,"close_wait_ns":null,"last_ack_ns":null,"teardown_ns":2,
"half_close_payload_bytes":0,"client_fin_retransmits":0,"server_fin_retransmits":0,"reuse_after_ns":null,
"client_state":"FIN-WAIT-2","server_state":"CLOSE-WAIT",
"close_initiator":"client","close_kind":"reset","close_complete":true,"end_reason":"active_timeout","slice":3}`

func TestFlowJSON(t *testing.T) {
	names := apitest.Names()
	for _, test := range []struct {
		name   string
		record flowtable.Record
		want   string
	}{
		{"four-way close over IPv6", apitest.FourWay(), fourWayJSON},
		{"refused at the epoch", apitest.Refused(), refusedJSON},
		{"reset after a FIN, accounted by sequence", apitest.HalfClosed(), halfClosedJSON},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := withOtherSide(test.want, noOtherSideJSON)
			if got := string(api.AppendFlow(nil, &test.record, names)); got != want {
				t.Errorf("AppendFlow\n got %s\nwant %s", got, want)
			}
			if got := apitest.Encode(t, api.NewFlow(&test.record, names)); got != want {
				t.Errorf("NewFlow\n got %s\nwant %s", got, want)
			}
		})
	}
}

func TestAppendFlowIsTheJSONOfNewFlow(t *testing.T) {
	clock := new(api.Clock)
	names := apitest.NamesAt(clock)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		r := apitest.RandomRecord(rng)
		clock.Set(-rng.Int64N(4e18)) // half of the times are before 1970
		if got, want := string(api.AppendFlow(nil, &r, names)), apitest.Encode(t, api.NewFlow(&r, names)); got != want {
			t.Fatalf("record %+v\n got %s\nwant %s", r, got, want)
		}
	}
}

func TestLiveConnectionHasNoEndReason(t *testing.T) {
	r := apitest.FourWay()
	r.EndReason = flowtable.EndNone
	if got := api.NewFlow(&r, apitest.Names()).EndReason; got != "" {
		t.Errorf("end_reason %q, want none", got)
	}
}

// Every name of the contract's tables, and those that its text defines, is a
// field, and no other is.
func TestFlowHasTheNamesOfTheContract(t *testing.T) {
	page, err := os.ReadFile(apitest.ContractFile(t, "RECORD.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("`([a-z][a-z0-9_]*)`")
	want := map[string]bool{"close_initiator": true, "close_kind": true, "close_complete": true, "end_reason": true, "slice": true}
	for name := range want {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("the contract does not name %q", name)
		}
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cell, rest, _ := strings.Cut(line[1:], "|")
		// The table of close_kind lists values, one plain word a row, whose
		// kinds are terms of flowtable.
		if m := code.FindStringSubmatch(cell); m != nil && isCloseKind(m[1]) && rest != "" {
			continue
		}
		for _, m := range code.FindAllStringSubmatch(cell, -1) {
			want[m[1]] = true
			rows++
		}
	}
	if rows < 40 {
		t.Fatalf("found %d names in the contract's tables; their form has changed", rows)
	}
	for _, section := range []string{"The other side of a gateway", "Whose the ends are"} {
		for _, m := range code.FindAllStringSubmatch(namesOf(t, section), -1) {
			want[m[1]] = true
		}
	}
	got := map[string]bool{}
	flow := reflect.TypeFor[api.Flow]()
	for i := range flow.NumField() {
		name, _, _ := strings.Cut(flow.Field(i).Tag.Get("json"), ",")
		got[name] = true
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("fields\n got %v\nwant %v", sortedKeys(got), sortedKeys(want))
	}
}

func TestNames(t *testing.T) {
	a, b := api.NewNames(nil, nil), api.NewNames(nil, nil)
	form := regexp.MustCompile(`^[0-9a-v]{26}$`)
	for _, serial := range []uint64{0, 1, 1<<64 - 1} {
		if id := a.FlowID(serial); !form.MatchString(id) {
			t.Errorf("flow_id %q of serial %d is not 26 characters of 0-9 and a-v", id, serial)
		}
	}
	if a.FlowID(7) == b.FlowID(7) {
		t.Error("two runs gave one serial the same flow_id")
	}
	if !(a.FlowID(255) < a.FlowID(256) && a.FlowID(31) < a.FlowID(32)) {
		t.Error("flow_ids of one run do not sort by serial")
	}
	if got := a.Interface(12); got != "12" {
		t.Errorf("interface without a name: %q, want its number", got)
	}
	clock := new(api.Clock)
	clock.Set(apitest.Epoch)
	if got, want := api.NewNames(clock, nil).Time(1), "2023-11-14T22:13:20.000000001Z"; got != want {
		t.Errorf("time %q, want %q", got, want)
	}
}

func TestAppendFlowAllocatesNothing(t *testing.T) {
	names := api.NewNames(nil, func(uint32) string { return "eth1" })
	r := apitest.FourWay()
	b := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { b = api.AppendFlow(b[:0], &r, names) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkAppendFlow(b *testing.B) {
	names := api.NewNames(nil, func(uint32) string { return "eth1" })
	r := apitest.FourWay()
	buffer := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buffer = api.AppendFlow(buffer[:0], &r, names)
	}
	b.SetBytes(int64(len(buffer)))
}

// encode is encoding/json without its escaping for HTML.
func isCloseKind(name string) bool {
	for k := range flowtable.CloseKinds {
		if flowtable.CloseKind(k).String() == name {
			return true
		}
	}
	return false
}

func sortedKeys(m map[string]bool) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
