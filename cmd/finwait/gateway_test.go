package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp/gateway"
	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
	"github.com/finwait/finwait/xdp/netns"
)

// TestGatewayRecords: a connection that passes two interfaces of a box has a record
// of each, and both tell the same.
func TestGatewayRecords(t *testing.T) {
	const each, there, back = 3, 70_000, 90_000
	s := gatewaytest.New(t)
	at := s.Serve(back)
	var out bytes.Buffer
	a := gatewayAppliance(t, s, &out)
	a.start(t.Context())
	for range each {
		for _, to := range at {
			s.In(s.Client, func() error { return gatewaytest.Exchange(to, there, back) })
		}
	}
	time.Sleep(200 * time.Millisecond) // for the last acknowledgements
	defer func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	for _, c := range a.source.Ledger() {
		if c.Loss() && c.Value > 0 {
			t.Errorf("%+v was lost", c)
		}
	}
	told := make(map[string]int) // by what both records of a connection share
	records := readObjects(t, out.String())
	for _, r := range records {
		if r["evidence"] != "full" || r["oriented_by"] != "syn" || r["close_complete"] != true || r["close_initiator"] != "client" ||
			r["accounting"] != "counted" || fmt.Sprint(r["client_payload_bytes"], r["server_payload_bytes"]) != fmt.Sprint(json.Number(strconv.Itoa(there)), json.Number(strconv.Itoa(back))) {
			t.Errorf("not what was done: %v", r)
		}
		for _, name := range []string{"syn_at", "syn_ack_at", "established_at", "fin1_at", "ack1_at", "fin2_at", "ack2_at"} {
			if r[name] == nil {
				t.Errorf("%s was not seen on %v", name, r["interface"])
			}
		}
		told[fmt.Sprint(r["client_port"], r["client_ip"], r["client_packets"], r["server_packets"], r["client_bytes"], r["server_bytes"])] |= 1 << (fmt.Sprint(r["interface"])[0] - 'a')
	}
	if len(records) != 2*each*len(at) {
		t.Errorf("%d records of %d connections on two interfaces", len(records), each*len(at))
	}
	for what, on := range told {
		if on != 1<<('l'-'a')|1<<('w'-'a') {
			t.Errorf("%s is not told by both interfaces", what)
		}
	}
}

// gatewayAppliance opens one in the box that does not work yet.
func gatewayAppliance(t testing.TB, s *gatewaytest.Site, out *bytes.Buffer) *appliance {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	timeouts := flowtable.LiveTimeouts()
	var a *appliance
	err = netns.Do(s.Box, func() (err error) {
		a, err = openAppliance(applianceConfig{
			gateway:  &gateway.Config{Interfaces: []string{gatewaytest.LAN, gatewaytest.WAN}, MaxFlows: 1 << 16},
			maxFlows: 1 << 16, recent: 1 << 12, timeouts: timeouts, listener: listener, records: out,
			patience: 10 * time.Second, report: func(line string) { t.Log(line) },
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
