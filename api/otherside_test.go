package api_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/flowtable"
)

// noOtherSideJSON is what a record has that is no gateway's.
const noOtherSideJSON = `"interface_faces":"","peer_flow_id":null,
"nat_client_ip":null,"nat_client_port":null,"nat_server_ip":null,"nat_server_port":null,
"syn_transit_ns":null,"syn_ack_transit_ns":null,"fin1_transit_ns":null,"ack1_transit_ns":null,
"fin2_transit_ns":null,"ack2_transit_ns":null,"rst_transit_ns":null}`

const otherSideJSON = `"interface_faces":"server","peer_flow_id":"000g40o40k30e0000000000008",
"nat_client_ip":"192.0.2.254","nat_client_port":61000,"nat_server_ip":"2001:db8::1","nat_server_port":443,
"syn_transit_ns":4294967295,"syn_ack_transit_ns":0,"fin1_transit_ns":7,"ack1_transit_ns":null,
"fin2_transit_ns":8,"ack2_transit_ns":null,"rst_transit_ns":9}`

// withOtherSide is a record's object with these members at its end.
func withOtherSide(record, otherSide string) string {
	return strings.ReplaceAll(strings.TrimSuffix(record, "}")+","+otherSide, "\n", "")
}

func TestOtherSideJSON(t *testing.T) {
	names, r := apitest.Names(), apitest.FourWay()
	r.Peer = flowtable.Peer{
		Serial: r.Serial + 1, Found: true, Translated: true, Faces: flowtable.Server,
		Client: [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 254}, ClientPort: 61000,
		Server: [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}, ServerPort: 443,
		Transit: [flowtable.Moments]uint32{flowtable.MaxTransit, 0, 3, 7, 5, 8, 6, 9},
		Known:   1<<flowtable.SYNAt | 1<<flowtable.SYNACKAt | 1<<flowtable.FIN1At | 1<<flowtable.FIN2At | 1<<flowtable.RSTAt,
	}
	want := withOtherSide(fourWayJSON, otherSideJSON)
	if got := string(api.AppendFlow(nil, &r, names)); got != want {
		t.Errorf("AppendFlow\n got %s\nwant %s", got, want)
	}
	if got := apitest.Encode(t, api.NewFlow(&r, names)); got != want {
		t.Errorf("NewFlow\n got %s\nwant %s", got, want)
	}
}

// namesOf are the first cells of the rows in a section of docs/record.md.
func namesOf(t *testing.T, title string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "record.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## "+title+"\n")
	if !found {
		t.Fatalf("docs/record.md has no section %q", title)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var cells strings.Builder
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| `") {
			cell, _, _ := strings.Cut(line[1:], "|")
			cells.WriteString(cell)
		}
	}
	return cells.String()
}
