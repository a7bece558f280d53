package lab

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// twoMSL is how long a closed tuple is remembered (RECORD.md; Linux'
// TCP_TIMEWAIT_LEN).
const twoMSL = 60 * time.Second

// Disagreement is one field of one connection in which finwait did not see
// what the lab did.
type Disagreement struct {
	Tuple
	Field    string `json:"field"`
	Expected string `json:"expected"`
	Seen     string `json:"seen"`
}

// Result is how one scenario's connections compare.
type Result struct {
	Scenario      string         `json:"scenario"`
	Does          string         `json:"does"`
	Connections   int            `json:"connections"`
	Agreed        int            `json:"agreed"`
	CloseKinds    map[string]int `json:"close_kinds"` // seen
	FINWait1NS    *int64         `json:"fin_wait_1_median_ns"`
	CloseWaitNS   *int64         `json:"close_wait_median_ns"`
	LastACKNS     *int64         `json:"last_ack_median_ns"`
	FIN1TransitNS *int64         `json:"fin1_transit_median_ns"` // of a gateway
	Disagreements []Disagreement `json:"disagreements"`
	Missing       []Tuple        `json:"missing"`

	waits [4][]int64
}

// Report is the comparison of what the lab did with what finwait saw.
type Report struct {
	Connections int      `json:"connections"`
	Agreed      int      `json:"agreed"`
	Scenarios   []Result `json:"scenarios"`
	Extra       []Tuple  `json:"extra"` // seen, but not done
}

// OK tells whether there was something to compare and all of it agrees.
func (r *Report) OK() bool {
	return r.Connections > 0 && r.Agreed == r.Connections && len(r.Extra) == 0
}

// Compare holds flows against expectations. Those of one tuple, and on a gateway of
// one interface, are matched in the order in which they began.
func Compare(expected []Expectation, flows []Flow) Report {
	report := Report{Scenarios: []Result{}, Extra: []Tuple{}}
	results := map[string]*Result{}
	gateway := slices.ContainsFunc(expected, func(e Expectation) bool { return e.Interface != "" })
	seen := byPlace(flows, gateway)
	expected = slices.Clone(expected)
	slices.SortStableFunc(expected, func(a, b Expectation) int { return cmp.Compare(a.StartedNS, b.StartedNS) })
	matched := make([]*Flow, len(expected))
	pairs := map[int][]*Flow{}
	for i := range expected {
		e := &expected[i]
		at := seenAt{e.Tuple, e.Interface}
		if rows := seen[at]; len(rows) > 0 {
			matched[i], seen[at] = rows[0], rows[1:]
			pairs[e.pair] = append(pairs[e.pair], rows[0])
		}
	}
	for i := range expected {
		e, flow := &expected[i], matched[i]
		result := results[e.Scenario]
		if result == nil {
			result = newResult(e.Scenario)
			results[e.Scenario] = result
		}
		var found []Disagreement
		if flow != nil && gateway {
			found = e.otherSide(flow, peer(flow, pairs[e.pair], e.pair))
		}
		result.add(e, flow, found)
	}
	for at, rows := range seen {
		for range rows {
			report.Extra = append(report.Extra, at.Tuple)
		}
	}
	slices.SortFunc(report.Extra, func(a, b Tuple) int { return cmp.Compare(a.String(), b.String()) })
	for _, result := range results {
		result.summarise()
		report.Connections += result.Connections
		report.Agreed += result.Agreed
		report.Scenarios = append(report.Scenarios, *result)
	}
	slices.SortFunc(report.Scenarios, func(a, b Result) int {
		return cmp.Or(cmp.Compare(place(a.Scenario), place(b.Scenario)), cmp.Compare(a.Scenario, b.Scenario))
	})
	return report
}

// seenAt is where a connection is seen: on one interface, which matters on a
// gateway only.
type seenAt struct {
	Tuple
	on string
}

// byPlace sorts the flows of each place by their start.
func byPlace(flows []Flow, gateway bool) map[seenAt][]*Flow {
	seen := map[seenAt][]*Flow{}
	for i := range flows {
		at := seenAt{Tuple: flows[i].Tuple}
		at.ClientIP, at.ServerIP = at.ClientIP.Unmap(), at.ServerIP.Unmap()
		if gateway {
			at.on = flows[i].Interface
		}
		seen[at] = append(seen[at], &flows[i])
	}
	for _, rows := range seen {
		slices.SortStableFunc(rows, func(a, b *Flow) int { return timeOf(a.StartAt).Compare(timeOf(b.StartAt)) })
	}
	return seen
}

// peer is the other one of a pair's rows, nil where there is none.
func peer(f *Flow, rows []*Flow, pair int) *Flow {
	for _, row := range rows {
		if pair != 0 && row != f {
			return row
		}
	}
	return nil
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// listed are all scenarios, as reports list them.
var listed = slices.Concat(scenarios, masqueradeScenarios)

// place is a scenario's position in reports.
func place(name string) int {
	i := slices.IndexFunc(listed, func(s scenario) bool { return s.name == name })
	if i < 0 {
		return len(listed)
	}
	return i
}

func newResult(name string) *Result {
	r := &Result{Scenario: name, CloseKinds: map[string]int{}, Disagreements: []Disagreement{}, Missing: []Tuple{}}
	if i := place(name); i < len(listed) {
		r.Does = listed[i].does
	}
	return r
}

// add takes a connection and what is known not to agree.
func (r *Result) add(e *Expectation, f *Flow, found []Disagreement) {
	r.Connections++
	if f == nil {
		r.Missing = append(r.Missing, e.Tuple)
		return
	}
	r.CloseKinds[f.CloseKind]++
	for i, wait := range []*int64{f.FINWait1NS, f.CloseWaitNS, f.LastACKNS, f.FIN1Transit} {
		if wait != nil {
			r.waits[i] = append(r.waits[i], *wait)
		}
	}
	differences := append(e.differences(f), found...)
	if len(differences) == 0 {
		r.Agreed++
	}
	r.Disagreements = append(r.Disagreements, differences...)
}

func (r *Result) summarise() {
	r.FINWait1NS, r.CloseWaitNS, r.LastACKNS = median(r.waits[0]), median(r.waits[1]), median(r.waits[2])
	r.FIN1TransitNS = median(r.waits[3])
}

// median is the lower one of an even number.
func median(values []int64) *int64 {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	return &values[(len(values)-1)/2]
}

// differences lists the fields in which a flow is not what was done.
func (e *Expectation) differences(f *Flow) []Disagreement {
	d := differ{tuple: e.Tuple}
	if !slices.Contains(e.CloseKinds, f.CloseKind) {
		d.add("close_kind", fmt.Sprint(e.CloseKinds), f.CloseKind)
	}
	d.text("close_initiator", string(e.Initiator), string(f.Initiator))
	if e.RSTBy != Nobody || !f.resetAfterClose() {
		d.text("rst_by", string(e.RSTBy), string(f.RSTBy))
	}
	d.text("close_complete", strconv.FormatBool(e.Complete), strconv.FormatBool(f.Complete))
	if e.OrientedBy != "syn" || f.OrientedBy != "syn_ack" || f.SYNAt == nil { // the SYN-ACK may overtake its SYN on another queue
		d.text("oriented_by", e.OrientedBy, f.OrientedBy)
	}
	d.text("evidence", e.Evidence, f.Evidence)
	d.text("vlan_id", strconv.Itoa(int(e.VLAN)), strconv.Itoa(int(f.VLAN)))
	d.text("encapsulation", e.Encapsulation, string(f.Encapsulation))
	d.accounting(cmp.Or(e.Accounting, accountingCounted), f)
	d.counts(&e.Counts, &f.Counts)
	d.reuse(e.Reuse, f.ReuseAfterNS)
	d.waves(f)
	d.atLeast("fin2_at - fin1_at", e.MinFIN1ToFIN2NS, f.FIN1At, f.FIN2At)
	return d.found
}

// differ collects the differences of one connection.
type differ struct {
	tuple Tuple
	found []Disagreement
}

func (d *differ) add(field, expected, seen string) {
	d.found = append(d.found, Disagreement{Tuple: d.tuple, Field: field, Expected: expected, Seen: seen})
}

func (d *differ) text(field, expected, seen string) {
	if expected != seen {
		d.add(field, strconv.Quote(expected), strconv.Quote(seen))
	}
}

// counts compares the counts that are expected, by their names in JSON.
func (d *differ) counts(expected, seen *Counts) {
	want, got := reflect.ValueOf(expected).Elem(), reflect.ValueOf(seen).Elem()
	for i := range want.NumField() {
		w, g := want.Field(i).Interface().(*uint64), got.Field(i).Interface().(*uint64)
		if w != nil && (g == nil || *w != *g) {
			d.add(want.Type().Field(i).Tag.Get("json"), number(w), number(g))
		}
	}
}

// accounting wants no packets and bytes where nobody counted them.
func (d *differ) accounting(expected string, f *Flow) {
	d.text("accounting", expected, f.Accounting)
	if expected == accountingCounted {
		return
	}
	for _, count := range []struct {
		field string
		seen  *uint64
	}{
		{"client_packets", f.ClientPackets}, {"server_packets", f.ServerPackets},
		{"client_bytes", f.ClientOctets}, {"server_bytes", f.ServerOctets},
	} {
		if count.seen != nil {
			d.add(count.field, "null", number(count.seen))
		}
	}
}

func (d *differ) reuse(expected bool, seen *int64) {
	if !expected && seen != nil {
		d.add("reuse_after_ns", "null", number(seen))
	}
	if expected && (seen == nil || *seen < 0 || *seen >= int64(twoMSL)) {
		d.add("reuse_after_ns", fmt.Sprintf("0 to %d", int64(twoMSL)), number(seen))
	}
}

// resetAfterClose tells whether the RST came after both FINs were acknowledged.
// It ends nothing: a last ACK that was sent twice, by two CPUs or once more on
// a timer, finds no socket on the other side any more (RFC 9293 section
// 3.10.7.1).
func (f *Flow) resetAfterClose() bool {
	return f.RSTAt != nil && f.ACK1At != nil && f.ACK2At != nil && !f.RSTAt.Before(*f.ACK1At) && !f.RSTAt.Before(*f.ACK2At)
}

// waves wants the times of both acknowledgements of an orderly close.
func (d *differ) waves(f *Flow) {
	if !f.Complete || f.FIN1At == nil || f.RSTAt != nil && !f.resetAfterClose() {
		return
	}
	for _, ack := range []struct {
		field string
		at    *time.Time
	}{{"ack1_at", f.ACK1At}, {"ack2_at", f.ACK2At}} {
		if ack.at == nil {
			d.add(ack.field, "a time", "null")
		}
	}
}

func (d *differ) atLeast(field string, minimumNS int64, from, to *time.Time) {
	if minimumNS == 0 {
		return
	}
	if from == nil || to == nil {
		d.add(field, fmt.Sprintf("at least %d ns", minimumNS), "null")
	} else if seen := to.Sub(*from); int64(seen) < minimumNS {
		d.add(field, fmt.Sprintf("at least %d ns", minimumNS), fmt.Sprintf("%d ns", int64(seen)))
	}
}

func number[T uint16 | int64 | uint64](n *T) string {
	if n == nil {
		return "null"
	}
	return fmt.Sprint(*n)
}
