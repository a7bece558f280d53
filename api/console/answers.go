package console

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/finwait/finwait/api"
)

// Answer is how the answers of one question are written.
type Answer struct {
	List   string // member with the elements
	sample any    // element with every member
	table  func(body []byte) (*Table, []string, error)
}

// Table makes the table of an answer, and sentences that belong beside it.
func (a *Answer) Table(body []byte) (*Table, []string, error) { return a.table(body) }

// owned is a flow with every member.
var owned = api.Flow{ClientProcess: new(string), ServerProcess: new(string)}

// The answers of the questions that have lists.
var (
	Flows       = Answer{"flows", owned, answer(flowsTable)}
	Connections = Answer{"connections", api.Connection{Flow: owned}, answer(connectionsTable)}
	Teardown    = Answer{"groups", api.TeardownGroup{}, answer(teardownTable)}
	Top         = Answer{"groups", api.TopGroup{}, answer(topTable)}
	Series      = Answer{"points", api.SeriesPoint{}, answer(seriesTable)}
	Status      = Answer{"ledger", api.LedgerEntry{}, answer(statusTable)}
)

// answer reads a body into what table takes.
func answer[T any](table func(*T) (*Table, []string)) func([]byte) (*Table, []string, error) {
	return func(body []byte) (*Table, []string, error) {
		v := new(T)
		if err := json.Unmarshal(body, v); err != nil {
			return nil, nil, fmt.Errorf("reading the answer: %w", err)
		}
		t, notes := table(v)
		return t, notes, nil
	}
}

// flowColumns are those of a table of flows.
var flowColumns = []Column{
	{Title: "ENDED", Rank: 4}, {Title: "CLIENT"}, {Title: "SERVER"}, {Title: "KIND"}, {Title: "BY", Rank: 2},
	{Title: "FIN_WAIT_1", Right: true, Rank: 3}, {Title: "CLOSE_WAIT", Right: true}, {Title: "LAST_ACK", Right: true, Rank: 3},
	{Title: "DURATION", Right: true, Rank: 5}, {Title: "BYTES", Right: true, Rank: 6}, {Title: "REASON", Rank: 7}, {Title: "EVIDENCE", Rank: 8},
}

// NewFlowTable is for flows that come one by one: its columns have room for
// most IPv4 endpoints and all that else may come.
func NewFlowTable() *Table {
	t := &Table{Columns: slices.Clone(flowColumns)}
	for i, width := range []int{len(clock), 21, 21, 12, 6, 10, 10, 10, 8, 13, 14, 9} {
		t.Columns[i].Width = width
	}
	return t
}

// FlowCells are the cells of one flow.
func FlowCells(f *api.Flow) []string {
	return []string{
		at(f.EndAt), Endpoint(f.ClientIP, f.ClientPort), Endpoint(f.ServerIP, f.ServerPort), f.CloseKind, orNone(f.CloseInitiator),
		duration(f.FINWait1NS), duration(f.CloseWaitNS), duration(f.LastACKNS),
		lasted(f), octets(f), f.EndReason, f.Evidence,
	}
}

func flowsTable(page *api.FlowsPage) (*Table, []string) {
	t := &Table{Columns: flowColumns}
	for i := range page.Flows {
		t.Add(FlowCells(&page.Flows[i])...)
	}
	if page.NextCursor == nil {
		return t, nil
	}
	return t, []string{fmt.Sprintf("there are more; the next page: --cursor %s; all of them: --format ndjson", *page.NextCursor)}
}

func connectionsTable(c *api.Connections) (*Table, []string) {
	t := &Table{Columns: []Column{
		{Title: "AGE", Right: true, Rank: 1}, {Title: "CLIENT"}, {Title: "SERVER"}, {Title: "CLIENT STATE"}, {Title: "SERVER STATE"},
		{Title: "PHASE", Rank: 3}, {Title: "SINCE", Right: true, Rank: 2}, {Title: "IDLE", Right: true, Rank: 4}, {Title: "BYTES", Right: true, Rank: 5},
		{Title: "EVIDENCE", Rank: 6},
	}}
	for i := range c.Connections {
		v := &c.Connections[i]
		t.Add(api.Duration(v.AgeNS), Endpoint(v.ClientIP, v.ClientPort), Endpoint(v.ServerIP, v.ServerPort), v.ClientState, v.ServerState,
			orNone(v.Phase), duration(v.PhaseNS), api.Duration(v.IdleNS), octets(&v.Flow), v.Evidence)
	}
	return t, []string{fmt.Sprintf("%d shown, %d fit, %d are followed", len(c.Connections), c.Total, c.Followed)}
}

// groupColumns are the columns of what is grouped by.
func groupColumns(groupBy []string) []Column {
	columns := make([]Column, len(groupBy))
	for i, name := range groupBy {
		columns[i] = Column{Title: strings.ToUpper(strings.ReplaceAll(name, "_", " "))}
	}
	return columns
}

func groupCells(key *api.GroupKey, groupBy []string) []string {
	cells := make([]string, len(groupBy))
	for i, name := range groupBy {
		cells[i] = keyCell(key, name)
	}
	return cells
}

func keyCell(key *api.GroupKey, name string) string {
	texts := map[string]*string{"server": key.Server, "server_network": key.ServerNetwork, "client": key.Client, "client_network": key.ClientNetwork,
		"close_kind": key.CloseKind, "close_initiator": key.CloseInitiator, "interface": key.Interface,
		"server_process": key.ServerProcess, "client_process": key.ClientProcess}
	numbers := map[string]*uint16{"server_port": key.ServerPort, "vlan": key.VLAN}
	switch {
	case texts[name] != nil:
		return orNone(*texts[name])
	case numbers[name] != nil:
		return strconv.Itoa(int(*numbers[name]))
	default:
		return none
	}
}

// GroupName is a group's key in one cell; an address and its port stand as they
// do in a URL.
func GroupName(key *api.GroupKey, groupBy []string) string {
	if key.Server != nil && key.ServerPort != nil && len(groupBy) == 2 {
		return Endpoint(*key.Server, *key.ServerPort)
	}
	return strings.Join(groupCells(key, groupBy), " ")
}

func teardownTable(v *api.Teardown) (*Table, []string) {
	t := &Table{Columns: append(groupColumns(v.GroupBy), Column{Title: "COUNT", Right: true},
		Column{Title: "FIN_WAIT_1 P50", Right: true, Rank: 3}, Column{Title: "P99", Right: true, Rank: 3},
		Column{Title: "CLOSE_WAIT P50", Right: true, Rank: 1}, Column{Title: "P90", Right: true, Rank: 6}, Column{Title: "P99", Right: true}, Column{Title: "MAX", Right: true, Rank: 2},
		Column{Title: "LAST_ACK P50", Right: true, Rank: 4}, Column{Title: "P99", Right: true, Rank: 4},
		Column{Title: "TEARDOWN P50", Right: true, Rank: 5}, Column{Title: "P99", Right: true, Rank: 5})}
	for i := range v.Groups {
		g := &v.Groups[i]
		t.Add(append(groupCells(&g.Key, v.GroupBy), count(g.Count), duration(g.FINWait1.P50NS), duration(g.FINWait1.P99NS),
			duration(g.CloseWait.P50NS), duration(g.CloseWait.P90NS), duration(g.CloseWait.P99NS), duration(g.CloseWait.MaxNS),
			duration(g.LastACK.P50NS), duration(g.LastACK.P99NS), duration(g.Teardown.P50NS), duration(g.Teardown.P99NS))...)
	}
	return t, []string{fmt.Sprintf("%d connections, %d of %d groups", v.Count, len(v.Groups), v.GroupsTotal)}
}

func topTable(v *api.Top) (*Table, []string) {
	t := &Table{Columns: append(groupColumns(v.GroupBy), Column{Title: strings.ToUpper(v.By), Right: true},
		Column{Title: "SHARE", Right: true}, Column{Title: "CONNECTIONS", Right: true, Rank: 1})}
	for i := range v.Groups {
		g := &v.Groups[i]
		t.Add(append(groupCells(&g.Key, v.GroupBy), Amount(g.Value, v.Unit), strconv.FormatFloat(100*g.Share, 'f', 1, 64)+"%", count(g.Connections))...)
	}
	return t, []string{fmt.Sprintf("%s in %d connections, %d of %d groups", Amount(v.Total, v.Unit), v.Connections, len(v.Groups), v.GroupsTotal)}
}

// Amount writes a number of the unit that a Top names.
func Amount(value uint64, unit string) string {
	switch unit {
	case "octets":
		return Size(value)
	case "ns":
		return api.Duration(int64(value))
	default:
		return count(value)
	}
}

func seriesTable(v *api.Series) (*Table, []string) {
	t := &Table{Columns: []Column{
		{Title: "FROM"}, {Title: "OPENS", Right: true}, {Title: "CLOSES", Right: true}, {Title: "OPEN", Right: true},
		{Title: "RESET", Right: true, Rank: 1}, {Title: "REFUSED", Right: true, Rank: 2}, {Title: "UNANSWERED", Right: true, Rank: 3},
		{Title: "CLOSE_WAIT P50", Right: true, Rank: 1}, {Title: "P99", Right: true, Rank: 1}, {Title: "TEARDOWN P50", Right: true, Rank: 4}, {Title: "P99", Right: true, Rank: 4},
		{Title: "NOTE", Rank: 5},
	}}
	for i := range v.Points {
		p := &v.Points[i]
		var notes []string
		if p.Partial {
			notes = append(notes, "partial")
		}
		if !p.Complete {
			notes = append(notes, "incomplete")
		}
		t.Add(at(p.At), count(p.Opens), count(p.Closes), count(p.Concurrency), count(p.Kinds.Reset), count(p.Kinds.Refused), count(p.Kinds.Unanswered),
			duration(p.CloseWait.P50NS), duration(p.CloseWait.P99NS), duration(p.Teardown.P50NS), duration(p.Teardown.P99NS), strings.Join(notes, ","))
	}
	return t, []string{fmt.Sprintf("intervals of %s", api.Duration(v.IntervalNS))}
}

func statusTable(v *api.StatusAnswer) (*Table, []string) {
	t := &Table{Columns: []Column{{Title: "STAGE"}, {Title: "REASON"}, {Title: "INTERFACE", Rank: 1}, {Title: "QUEUE", Right: true, Rank: 1},
		{Title: "COUNT", Right: true}, {Title: "LOSS"}}}
	for _, e := range v.Ledger {
		if e.Count == 0 {
			continue
		}
		queue, loss := none, ""
		if e.Queue != nil {
			queue = strconv.Itoa(*e.Queue)
		}
		if e.Loss {
			loss = "LOST"
		}
		t.Add(e.Stage, e.Reason, orNone(e.Interface), queue, count(e.Count), loss)
	}
	notes := []string{fmt.Sprintf("finwait %s, up %s, %d workers, accounting %s", v.Version, api.Duration(v.UptimeNS), v.Workers, v.Accounting)}
	for _, i := range v.Interfaces {
		notes = append(notes, fmt.Sprintf("interface %s: driver %s, %s XDP, %d receive queues", i.Name, orNone(i.Driver), i.Mode, i.Queues))
	}
	notes = append(notes,
		fmt.Sprintf("connections: %d followed, room for %d, %s reserved", v.Table.Connections, v.Table.Capacity, Size(v.Table.MemoryOctets)),
		fmt.Sprintf("recent records: %d kept, room for %d, %s reserved", v.Recent.Records, v.Recent.Capacity, Size(v.Recent.MemoryOctets)),
		fmt.Sprintf("since the start: %d segments in %s, %d of them control segments; %d records", v.Totals.Packets, Size(v.Totals.Octets), v.Totals.Segments, v.Totals.Records))
	if v.Lost > 0 {
		return t, append(notes, fmt.Sprintf("LOST: %d; the ledger says what, and docs/operating.md what to do", v.Lost))
	}
	return t, append(notes, "lost: nothing")
}

// lasted is from a flow's first segment to its last.
func lasted(f *api.Flow) string {
	from, to := parsed(f.StartAt), parsed(f.EndAt)
	if from.IsZero() || to.IsZero() {
		return none
	}
	return api.Duration(int64(to.Sub(from)))
}
