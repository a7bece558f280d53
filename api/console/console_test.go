package console

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
)

func TestTable(t *testing.T) {
	table := Table{Columns: []Column{{Title: "NAME"}, {Title: "N", Right: true, Rank: 1}, {Title: "WIDE TITLE", Right: true, Rank: 2}, {Title: "NOTE", Rank: 3}}}
	table.Add("a", "1", "2", "")
	table.Add("bébé", "1000", "-", "x\x1b[31m")
	for width, want := range map[int]string{
		0:  "NAME     N  WIDE TITLE  NOTE\na        1           2\nbébé  1000           -  x?[31m\n",
		30: "NAME     N  WIDE TITLE  NOTE\na        1           2\nbébé  1000           -  x?[31m\n",
		29: "NAME     N  WIDE TITLE\na        1           2\nbébé  1000           -\n",
		12: "NAME     N\na        1\nbébé  1000\n",
		2:  "NAME\na\nbébé\n",
	} {
		var b strings.Builder
		if err := table.Write(&b, width); err != nil || b.String() != want {
			t.Errorf("width %d: %v\n%q, want\n%q", width, err, b.String(), want)
		}
	}
}

func TestSize(t *testing.T) {
	for octets, want := range map[uint64]string{
		0: "0B", 999: "999B", 1000: "1.0kB", 1999: "1.9kB", 99_999: "99.9kB", 100_000: "100kB", 999_999: "999kB",
		1_000_000: "1.0MB", 5_000_000_000: "5.0GB", 1<<64 - 1: "18.4EB",
	} {
		if got := Size(octets); got != want {
			t.Errorf("%d octets are %q, want %q", octets, got, want)
		}
	}
}

// body is an answer with the flows of known records.
func body(t *testing.T) []byte {
	t.Helper()
	cursor := "next"
	page := api.FlowsPage{NextCursor: &cursor}
	four, refused, half := apitest.FourWay(), apitest.Refused(), apitest.HalfClosed()
	page.Flows = append(page.Flows, api.NewFlow(&four, apitest.Names()), api.NewFlow(&refused, apitest.Names()), api.NewFlow(&half, apitest.Names()))
	text, err := json.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestFlowsTable(t *testing.T) {
	table, notes, err := Flows.Table(body(t))
	if err != nil || len(table.Rows) != 3 {
		t.Fatalf("%v: %+v", err, table)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "--cursor next") {
		t.Errorf("notes %q", notes)
	}
	for i, want := range []string{
		"[2001:db8:1::6]:40000|[2001:db8:ffff::1]:443|four_way|server|1.00ms|2.00ms|1.00ms|9.00ms|1.5kB/5.0GB|closed|full",
		"10.0.0.1:33036|192.0.2.9:5672|refused|server|-|-|-|40.0us|60B/40B|closed|full",
		"10.0.0.2:1000|10.0.0.3:2000|reset|client|-|-|-|3ns|10B/20B|active_timeout|lossy", // by sequence: payload
	} {
		if got := strings.Join(table.Rows[i][1:], "|"); got != want {
			t.Errorf("row %d: %s, want %s", i, got, want)
		}
	}
}

// As CSV a flow has every field of the record, in its order.
func TestCSV(t *testing.T) {
	elements, groupBy, err := Flows.Elements(body(t))
	if err != nil || len(elements) != 3 || groupBy != nil {
		t.Fatalf("%d elements by %v: %v", len(elements), groupBy, err)
	}
	var b strings.Builder
	csv, err := Flows.CSV(&b, groupBy)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range elements {
		if err := csv.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := csv.Flush(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	heading := strings.Split(lines[0], ",")
	var want []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[api.Flow]()) {
		if !f.Anonymous {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			want = append(want, name)
		}
	}
	if len(lines) != 4 || !slices.Equal(heading, want) {
		t.Fatalf("%d lines, heading %q, want %q", len(lines), heading, want)
	}
	if !strings.HasPrefix(lines[2], "000g40o40k30e0000000000008,10.0.0.1,33036,192.0.2.9,5672,syn,0,,7,full,") || !strings.Contains(lines[2], ",server,refused,true,closed,0,,") {
		t.Errorf("the refused one: %s", lines[2])
	}
	if strings.Contains(b.String(), "null") || strings.Contains(b.String(), "e+") {
		t.Errorf("numbers and nulls as Go writes them: %s", b.String())
	}
}

func TestCSVOfGroups(t *testing.T) {
	answer := `{"group_by":["server","close_initiator"],"groups":[{"key":{"server":"10.0.0.7","close_initiator":""},"count":3,
		"close_wait":{"count":2,"p50_ns":30000000000,"p90_ns":null}}]}`
	elements, groupBy, err := Teardown.Elements([]byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	csv, err := Teardown.CSV(&b, groupBy)
	if err != nil {
		t.Fatal(err)
	}
	if err := csv.Write(elements[0]); err != nil {
		t.Fatal(err)
	}
	if err := csv.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "key.server,key.close_initiator,count,fin_wait_1.count,"; !strings.HasPrefix(b.String(), want) {
		t.Errorf("heading: %s", b.String())
	}
	if want := "\n10.0.0.7,,3,,,,,,2,30000000000,,,"; !strings.Contains(b.String(), want) {
		t.Errorf("line: %s", b.String())
	}
}

// Whoever reads lines is told of what is not among them.
func TestLeftOut(t *testing.T) {
	for _, c := range []struct {
		answer *Answer
		body   string
		want   string
	}{
		{&Connections, `{"connections":[{},{}],"total":3,"followed":9}`, "2 of 3 that fit; --limit gives more, up to 10000"},
		{&Connections, `{"connections":[{},{}],"total":2,"followed":9}`, ""},
		{&Flows, `{"flows":[{}],"next_cursor":"abc"}`, "there are more than these 1; --limit and --cursor abc give them"},
		{&Flows, `{"flows":[{}],"next_cursor":null}`, ""},
		{&Top, `{"group_by":["server"],"total":360,"groups_total":4,"groups":[{},{},{}]}`, "3 of 4 groups; --limit gives more"},
		{&Top, `{"group_by":["server"],"total":360,"groups_total":1,"groups":[{}]}`, ""},
		{&Teardown, `{"group_by":[],"groups_total":2,"groups":[{}]}`, "1 of 2 groups; --limit gives more"},
		{&Status, `{"ledger":[{}]}`, ""},
	} {
		if got, err := c.answer.LeftOut([]byte(c.body)); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.body, got, err, c.want)
		}
	}
	if _, err := Flows.LeftOut([]byte(`{"flows":{}}`)); err == nil {
		t.Error("what is no answer leaves nothing out")
	}
}

func TestGroupTables(t *testing.T) {
	table, notes, err := Top.Table([]byte(`{"by":"close_wait","unit":"ns","group_by":["server","server_port"],"total":360000000000,"connections":52000,"groups_total":41,
		"groups":[{"key":{"server":"10.0.0.7","server_port":8080},"value":300000000000,"share":0.8333,"connections":12}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(table.Rows[0], "|"); got != "10.0.0.7|8080|300s|83.3%|12" || table.Columns[2].Title != "CLOSE_WAIT" {
		t.Errorf("%s under %+v", got, table.Columns)
	}
	if notes[0] != "360s in 52000 connections, 1 of 41 groups" {
		t.Errorf("notes %q", notes)
	}
}

// The ledger's lines that are 0 say nothing; what was lost is said twice.
func TestStatusTable(t *testing.T) {
	table, notes, err := Status.Table([]byte(`{"version":"1.2.3","uptime_ns":1000000000,"lost":5,"ledger":[
		{"stage":"nic","interface":"eth1","queue":null,"reason":"rx_missed","count":0,"loss":true},
		{"stage":"socket","interface":"eth1","queue":0,"reason":"rx_dropped","count":5,"loss":true}]}`))
	if err != nil || len(table.Rows) != 1 {
		t.Fatalf("%v: %+v", err, table)
	}
	if got := strings.Join(table.Rows[0], "|"); got != "socket|rx_dropped|eth1|0|5|LOST" {
		t.Error(got)
	}
	if last := notes[len(notes)-1]; !strings.HasPrefix(last, "LOST: 5") {
		t.Errorf("notes %q", notes)
	}
}

func TestFields(t *testing.T) {
	table, err := Fields([]byte(`{"flow_id":"x","close_wait_ns":30000000000,"rst_at":null,"client_bytes":18446744073709551615}`))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := table.Write(&b, 0); err != nil {
		t.Fatal(err)
	}
	if want := "FIELD          VALUE\nflow_id        x\nclose_wait_ns  30000000000 (30.0s)\nrst_at         -\nclient_bytes   18446744073709551615\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, text := range []string{"", "[]", "{}", `{"flows":{}}`} {
		if _, _, err := Flows.Elements([]byte(text)); err == nil {
			t.Errorf("%q has elements", text)
		}
	}
	if _, _, err := Flows.Table([]byte("<html>")); err == nil {
		t.Error("a page is a table")
	}
}
