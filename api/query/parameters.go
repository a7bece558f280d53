package query

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// maxValues is how many values one parameter may have: each is looked at for
// every record.
const maxValues = 64

// Scope is what a question is about.
type Scope uint8

// The scopes.
const (
	Records  Scope = 1 << iota // that were published
	Followed                   // connections that are followed now
)

// Parameter is one parameter of a filter.
type Parameter struct {
	Name    string
	Doc     string
	Several bool     // values may be repeated or separated by commas
	Terms   []string // what its values are chosen from; nil where they are free
	Example string
	Scopes  Scope

	read func(b *building, values []string) error
}

// building is a Filter that is being read.
type building struct {
	filter *Filter
	now    time.Time
}

// ParameterError is a value that cannot be.
type ParameterError struct{ Name, Value, Message string }

func (e *ParameterError) Error() string {
	return fmt.Sprintf("parameter %q: %s", e.Name, e.Message)
}

// valueError names the value at fault, where there are several.
type valueError struct {
	value string
	cause error
}

func (e *valueError) Error() string { return fmt.Sprintf("%q is %v", e.value, e.cause) }

// Parameters lists what a filter may be made of.
func Parameters(of Scope) []Parameter {
	var list []Parameter
	for _, p := range parameters {
		if p.Scopes&of != 0 {
			list = append(list, p)
		}
	}
	return list
}

// ParseFilter reads the filter's part of a query; parameters that are not of a
// filter are passed over. It returns every error that it finds.
func ParseFilter(values url.Values, of Scope, now time.Time) (*Filter, []*ParameterError) {
	f := new(Filter)
	b := building{filter: f, now: now}
	var (
		errs []*ParameterError
		text strings.Builder
	)
	for i := range parameters {
		p := &parameters[i]
		given, found := values[p.Name]
		if !found || p.Scopes&of == 0 {
			continue
		}
		if p.Several {
			given = strings.Split(strings.Join(given, ","), ",")
		}
		if err := p.parse(&b, given); err != nil {
			errs = append(errs, &ParameterError{p.Name, strings.Join(given, ","), err.Error()})
			continue
		}
		fmt.Fprintf(&text, "%s=%q ", p.Name, given)
	}
	f.Text = text.String()
	f.order()
	return f, errs
}

func (p *Parameter) parse(b *building, values []string) error {
	switch {
	case !p.Several && len(values) > 1:
		return errors.New("given more than once")
	case len(values) > maxValues:
		return fmt.Errorf("%d values; give at most %d", len(values), maxValues)
	case slices.Contains(values, ""):
		return errors.New("has an empty value; leave it out where anything fits")
	}
	if p.Terms != nil {
		for _, v := range values {
			if !slices.Contains(p.Terms, v) {
				return &valueError{v, fmt.Errorf("not a term of it; %w", oneOf(p.Terms))}
			}
		}
	}
	return p.read(b, values)
}

// parameters in the order in which they are documented.
var parameters = slices.Concat(
	[]Parameter{
		publishedParameter("since", "Published at or after: RFC 3339, or back from now as -15m", func(f *Filter, at int64) { f.Since, f.HasSince = at, true }),
		publishedParameter("until", "Published before: RFC 3339, or back from now as -15m", func(f *Filter, at int64) { f.Until, f.HasUntil = at, true }),
		timeParameter("started_since", "First segment at or after", opened, startAt, false),
		timeParameter("started_until", "First segment before", opened, startAt, true),
		timeParameter("ended_since", "Last segment at or after", accounted, endAt, false),
		timeParameter("ended_until", "Last segment before", accounted, endAt, true),
		addressParameter("client", "Address or CIDR prefix of the client", clientSide),
		addressParameter("server", "Address or CIDR prefix of the server", serverSide),
		addressParameter("address", "Address or CIDR prefix of either side", bothSides),
		portParameter("client_port", "Port, or range as 8000-8099, of the client", clientSide),
		portParameter("server_port", "Port, or range as 8000-8099, of the server", serverSide),
		portParameter("port", "Port, or range as 8000-8099, of either side", bothSides),
		termParameter("close_kind", "How the connection ended", closed, names(flowtable.CloseKinds, flowtable.CloseKind.String),
			func(b *history.Block) *[history.Rows]flowtable.CloseKind { return &b.CloseKind }),
		termParameter("close_initiator", "Who closed: the sender of FIN1, without a FIN of the RST", closed, parties,
			func(b *history.Block) *[history.Rows]flowtable.Party { return &b.Initiator }),
		recordsAlone(termParameter("end_reason", "Why the record was written", opened, names(int(flowtable.EndNone), flowtable.EndReason.String),
			func(b *history.Block) *[history.Rows]flowtable.EndReason { return &b.EndReason })),
		termParameter("evidence", "How much of the connection was seen", accounted, names(int(flowtable.Lossy)+1, flowtable.Evidence.String),
			func(b *history.Block) *[history.Rows]flowtable.Evidence { return &b.Evidence }),
		termParameter("accounting", "Where packets and octets come from", opened, names(int(flowtable.AccountingSequence)+1, flowtable.Accounting.String),
			func(b *history.Block) *[history.Rows]flowtable.Accounting { return &b.Accounting }),
		termParameter("oriented_by", "How the client was told from the server", opened, names(int(flowtable.ByFirst)+1, flowtable.OrientedBy.String),
			func(b *history.Block) *[history.Rows]flowtable.OrientedBy { return &b.OrientedBy }),
		termParameter("rst_by", "Who sent the first RST", closed, parties,
			func(b *history.Block) *[history.Rows]flowtable.Party { return &b.RSTBy }),
		stateParameter("client_state", "RFC 9293 state of the client", clientSide),
		stateParameter("server_state", "RFC 9293 state of the server", serverSide),
		stateParameter("state", "RFC 9293 state of either side", bothSides),
		completeParameter(),
		ownerParameter("client_process", "Control group of the client's socket, or one above it; / for any that is known", clientSide),
		ownerParameter("server_process", "Control group of the server's socket, or one above it; / for any that is known", serverSide),
		ownerParameter("process", "Control group of either side's socket, or one above it; / for any that is known", bothSides),
		interfaceParameter(),
		vlanParameter(),
		encapsulationParameter(),
	},
	boundParameters(),
)

var (
	states  = names(flowtable.States, flowtable.State.String)
	parties = []string{"none", "client", "server"}
)

// names are the texts of the terms below n.
func names[T ~uint8](n int, text func(T) string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = text(T(i))
	}
	return list
}

func startAt(b *history.Block) *[history.Rows]int64 { return &b.StartAt }
func endAt(b *history.Block) *[history.Rows]int64   { return &b.EndAt }

func recordsAlone(p Parameter) Parameter {
	p.Scopes = Records
	return p
}

func publishedParameter(name, doc string, set func(*Filter, int64)) Parameter {
	return Parameter{Name: name, Doc: doc, Example: "-15m", Scopes: Records, read: func(b *building, values []string) error {
		at, err := parseTime(values[0], b.now)
		set(b.filter, at)
		return err
	}}
}

func timeParameter(name, doc string, needs knowledge, column func(*history.Block) *[history.Rows]int64, before bool) Parameter {
	return Parameter{Name: name, Doc: doc + ": RFC 3339, or back from now as -15m", Example: "-15m", Scopes: Records | Followed, read: func(b *building, values []string) error {
		wall, err := parseTime(values[0], b.now)
		b.filter.add(predicate{cost: costNumber, needs: needs, narrow: func(f *frame, rows []uint16) []uint16 {
			at, times := f.names.At(wall), column(f.block)
			return keep(rows, func(row uint16) bool { return times[row] < at == before })
		}})
		return err
	}}
}

func addressParameter(name, doc string, of sides) Parameter {
	return Parameter{Name: name, Doc: doc, Several: true, Example: "192.0.2.0/24", Scopes: Records | Followed, read: func(b *building, values []string) error {
		var list prefixes
		var networks []flowtable.Network
		for _, v := range values {
			p, err := parsePrefix(v)
			if err != nil {
				return &valueError{v, err}
			}
			list, networks = append(list, newPrefix(p)), append(networks, flowtable.NewNetwork(p))
		}
		b.filter.add(predicate{cost: costAddress, needs: opened, narrow: func(f *frame, rows []uint16) []uint16 {
			switch of {
			case clientSide:
				return list.keep(f, clientSide, rows)
			case serverSide:
				return list.keep(f, serverSide, rows)
			}
			return keep(rows, func(row uint16) bool {
				return list.contain(&f.block.Client.Address, row) || list.contain(&f.block.Server.Address, row)
			})
		}, tuple: func(t *flowtable.Tuple) bool {
			return of&clientSide != 0 && list.have(t.Client) || of&serverSide != 0 && list.have(t.Server)
		}, ends: func(e *flowtable.Ends) (g flowtable.Guess) {
			for i := range networks {
				if of&clientSide != 0 {
					g = g.Or(e.Clients(&networks[i]))
				}
				if of&serverSide != 0 {
					g = g.Or(e.Servers(&networks[i]))
				}
			}
			return g
		}})
		return nil
	}}
}

func portParameter(name, doc string, of sides) Parameter {
	return Parameter{Name: name, Doc: doc, Several: true, Example: "443", Scopes: Records | Followed, read: func(b *building, values []string) error {
		set, fault, err := parseNumbers(values, 0, 65535)
		if err != nil {
			return &valueError{fault, err}
		}
		b.filter.add(predicate{cost: costPort, needs: opened, narrow: func(f *frame, rows []uint16) []uint16 {
			return keep(rows, func(row uint16) bool {
				return of&clientSide != 0 && set.has(f.block.Client.Port[row]) || of&serverSide != 0 && set.has(f.block.Server.Port[row])
			})
		}, tuple: func(t *flowtable.Tuple) bool {
			return of&clientSide != 0 && set.has(t.ClientPort) || of&serverSide != 0 && set.has(t.ServerPort)
		}, ends: func(e *flowtable.Ends) (g flowtable.Guess) {
			if of&clientSide != 0 {
				g = g.Or(e.ClientPorts((*flowtable.Ports)(set)))
			}
			if of&serverSide != 0 {
				g = g.Or(e.ServerPorts((*flowtable.Ports)(set)))
			}
			return g
		}})
		return nil
	}}
}

func termParameter[T ~uint8](name, doc string, needs knowledge, choice []string, column func(*history.Block) *[history.Rows]T) Parameter {
	return Parameter{Name: name, Doc: doc, Several: true, Terms: choice, Scopes: Records | Followed, read: func(b *building, values []string) error {
		b.filter.add(terms(needs, column, set(values, choice)))
		return nil
	}}
}

// set has the bits of the chosen terms.
func set(values, choice []string) uint32 {
	var bits uint32
	for _, v := range values {
		bits |= 1 << slices.Index(choice, v)
	}
	return bits
}

func stateParameter(name, doc string, of sides) Parameter {
	return Parameter{Name: name, Doc: doc, Several: true, Terms: states, Scopes: Records | Followed, read: func(b *building, values []string) error {
		bits := set(values, states)
		fit := func(client, server flowtable.State) bool {
			return of&clientSide != 0 && bits>>client&1 != 0 || of&serverSide != 0 && bits>>server&1 != 0
		}
		b.filter.add(predicate{cost: costTerm, needs: closed, narrow: func(f *frame, rows []uint16) []uint16 {
			return keep(rows, func(row uint16) bool { return fit(f.block.Client.State[row], f.block.Server.State[row]) })
		}, states: fit})
		return nil
	}}
}

func completeParameter() Parameter {
	return Parameter{Name: "close_complete", Doc: "Both FINs were acknowledged, or a RST ended it", Terms: []string{"true", "false"}, Scopes: Records | Followed, read: func(b *building, values []string) error {
		want := values[0] == "true"
		b.filter.add(predicate{cost: costTerm, needs: closed, narrow: func(f *frame, rows []uint16) []uint16 {
			return keep(rows, func(row uint16) bool { return f.block.Complete[row] == want })
		}})
		return nil
	}}
}

func interfaceParameter() Parameter {
	return Parameter{Name: "interface", Doc: "Name of the interface", Several: true, Example: "eth1", Scopes: Records | Followed, read: func(b *building, values []string) error {
		b.filter.add(predicate{cost: costText, needs: opened, narrow: func(f *frame, rows []uint16) []uint16 {
			var number uint32
			known, fits := false, false // of the last number: there are few
			return keep(rows, func(row uint16) bool {
				if n := f.block.Interface[row]; !known || n != number {
					known, number, fits = true, n, slices.Contains(values, f.names.Interface(n))
				}
				return fits
			})
		}})
		return nil
	}}
}

func vlanParameter() Parameter {
	return Parameter{Name: "vlan", Doc: "Outermost VLAN identifier, or range as 100-199; 0 for none", Several: true, Example: "100", Scopes: Records | Followed, read: func(b *building, values []string) error {
		set, fault, err := parseNumbers(values, 0, 4095)
		if err != nil {
			return &valueError{fault, err}
		}
		b.filter.add(predicate{cost: costPort, needs: opened, narrow: func(f *frame, rows []uint16) []uint16 {
			return keep(rows, func(row uint16) bool { return set.has(f.block.VLAN[row]) })
		}})
		return nil
	}}
}

// boundParameters are min_ and max_ of every quantity.
func boundParameters() []Parameter {
	var list []Parameter
	for i := range quantities {
		q := &quantities[i]
		list = append(list, boundParameter("min_", "At least: ", q, false), boundParameter("max_", "At most: ", q, true))
	}
	return list
}

func boundParameter(prefix, doc string, q *quantity, most bool) Parameter {
	parse, example := parseNumber, "1500"
	if q.unit == InNanoseconds {
		parse, example = parseDuration, "5s"
	}
	scopes := Records | Followed
	if q.live {
		scopes = Followed
	}
	return Parameter{Name: prefix + q.name, Doc: doc + q.doc, Example: example, Scopes: scopes, read: func(b *building, values []string) error {
		bound, err := parse(values[0])
		b.filter.closing = b.filter.closing || q.fin
		cost := costNumber
		if q.coded {
			cost = costCode
		}
		b.filter.add(predicate{cost: cost, needs: q.needs, narrow: func(f *frame, rows []uint16) []uint16 {
			if q.coded {
				least, greatest := codesWithin(bound, most)
				// On record, what has no code is not known.
				rows = f.narrowCodes(q.phase, rows, least, greatest, f.summary == nil)
			}
			return keep(rows, func(row uint16) bool {
				v, known := q.value(f, int(row))
				return known && (v == bound || v < bound == most)
			})
		}})
		return err
	}}
}
