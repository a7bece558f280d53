package server

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/finwait/finwait/flowtable"
)

// addressParam is an address or a CIDR prefix in a query.
type addressParam struct{ prefix prefix }

// UnmarshalText reads an IPv4 or IPv6 address, alone or with a prefix length.
func (a *addressParam) UnmarshalText(text []byte) error {
	p, err := parsePrefix(string(text))
	if err != nil {
		return err
	}
	a.prefix = newPrefix(p)
	return nil
}

// Schema describes the parameter in the OpenAPI document.
func (a *addressParam) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Examples: []any{"192.0.2.0/24"}}
}

var errAddress = errors.New(`not an IP address or CIDR prefix such as "192.0.2.7", "192.0.2.0/24" or "2001:db8::/32"`)

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, errAddress
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errAddress
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}

// sinceParam is a time or a duration back from now in a query.
type sinceParam struct{ at time.Time }

// UnmarshalText reads RFC 3339, or a duration of Go's form with or without the
// minus of looking back.
func (s *sinceParam) UnmarshalText(text []byte) error {
	if back, err := time.ParseDuration(string(text)); err == nil {
		s.at = time.Now().Add(-back.Abs())
		return nil
	}
	// An unescaped + in a query arrives as a space.
	at, err := time.Parse(time.RFC3339Nano, strings.Replace(string(text), " ", "+", 1))
	if err != nil {
		return errors.New(`neither RFC 3339 such as "2026-01-31T12:00:00Z" nor a duration back such as "-15m"`)
	}
	s.at = at
	return nil
}

// Schema describes the parameter in the OpenAPI document.
func (s *sinceParam) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Examples: []any{"-15m", "2026-01-31T12:00:00Z"}}
}

// EndsQuery is what may be asked of records and live connections alike. (huma
// reads and documents the parameters of exported types only.)
type EndsQuery struct {
	Client addressParam `query:"client" doc:"Address or CIDR prefix of the client"`
	Server addressParam `query:"server" doc:"Address or CIDR prefix of the server"`
	Port   int          `query:"port" minimum:"1" maximum:"65535" doc:"Port of either side: the server's or the client's"`
	Limit  int          `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"Most entries in the answer"`
}

func (q *EndsQuery) filter() filter {
	return filter{client: q.Client.prefix, server: q.Server.prefix, port: uint16(q.Port)}
}

// RecordsQuery is what may be asked of records.
type RecordsQuery struct {
	EndsQuery
	CloseKind      []string   `query:"close_kind" enum:"refused,reset,simultaneous,three_way,four_way,half_closed,unanswered,half_open,open" doc:"Kinds of close, separated by commas or repeated; any of them"`
	CloseInitiator []string   `query:"close_initiator" enum:"client,server" doc:"Who closed, separated by commas or repeated; any of them"`
	Since          sinceParam `query:"since" doc:"Records published at or after this time: RFC 3339, or a duration back from now such as -15m or 15m"`
}

func (q *RecordsQuery) filter() filter {
	f := q.EndsQuery.filter()
	f.kinds = set(q.CloseKind, flowtable.CloseKinds, func(i int) string { return flowtable.CloseKind(i).String() })
	f.initiators = set(q.CloseInitiator, int(flowtable.Server)+1, func(i int) string { return flowtable.Party(i).String() })
	return f
}

// ConnectionsQuery is what may be asked of live connections.
type ConnectionsQuery struct {
	EndsQuery
	State []string `query:"state" enum:"CLOSED,SYN-SENT,SYN-RECEIVED,ESTABLISHED,FIN-WAIT-1,FIN-WAIT-2,CLOSE-WAIT,CLOSING,LAST-ACK,TIME-WAIT" doc:"RFC 9293 states, separated by commas or repeated; either side is in any of them"`
}

func (q *ConnectionsQuery) filter() filter {
	f := q.EndsQuery.filter()
	f.states = set(q.State, flowtable.States, func(i int) string { return flowtable.State(i).String() })
	return f
}

// set has the bit of each of n terms whose name is among names.
func set(names []string, n int, term func(int) string) uint32 {
	var bits uint32
	for i := range n {
		if slices.Contains(names, term(i)) {
			bits |= 1 << i
		}
	}
	return bits
}

// checkQuery is a middleware that brings lists, which may be repeated or
// separated by commas, into the one form that huma reads, and refuses what huma
// would pass over in silence: a query that cannot be decoded, and a parameter
// that is repeated or empty and is no list.
func checkQuery(h huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		request, _ := humago.Unwrap(ctx)
		query, err := url.ParseQuery(request.URL.RawQuery)
		if err != nil {
			// An answer that cannot be written has no reader.
			_ = huma.WriteErr(h, ctx, 400, "query: "+err.Error())
			return
		}
		var errs []error
		for _, p := range ctx.Operation().Parameters {
			values := query[p.Name]
			switch {
			case len(values) == 0:
			case p.Schema.Type == huma.TypeArray:
				query.Set(p.Name, strings.Join(values, ","))
			case len(values) > 1:
				errs = append(errs, badParameter(p.Name, strings.Join(values, ","), "given more than once"))
			case values[0] == "":
				errs = append(errs, badParameter(p.Name, "", "has no value"))
			}
		}
		if len(errs) > 0 {
			_ = huma.WriteErr(h, ctx, 400, "", errs...)
			return
		}
		request.URL.RawQuery = query.Encode()
		next(ctx)
	}
}
