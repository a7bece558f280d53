package server

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/finwait/finwait/api/query"
)

// RecordsFilter reads the filter of a question about records. (huma reads
// parameters of exported types only.)
type RecordsFilter struct{ filter *query.Filter }

// Resolve implements huma.Resolver.
func (q *RecordsFilter) Resolve(ctx huma.Context) []error {
	var errs []error
	q.filter, errs = parseFilter(ctx, query.Records)
	return errs
}

// FollowedFilter reads the filter of a question about connections that are
// followed.
type FollowedFilter struct{ filter *query.Filter }

// Resolve implements huma.Resolver.
func (q *FollowedFilter) Resolve(ctx huma.Context) []error {
	var errs []error
	q.filter, errs = parseFilter(ctx, query.Followed)
	return errs
}

func parseFilter(ctx huma.Context, of query.Scope) (*query.Filter, []error) {
	location := ctx.URL()
	f, faults := query.ParseFilter(location.Query(), of, time.Now())
	var errs []error
	for _, e := range faults {
		errs = append(errs, badParameter(e.Name, e.Value, e.Message))
	}
	return f, errs
}

// filterParams documents the parameters of a filter.
func filterParams(of query.Scope) []*huma.Param {
	var list []*huma.Param
	for _, p := range query.Parameters(of) {
		schema := &huma.Schema{Type: huma.TypeString}
		for _, term := range p.Terms {
			schema.Enum = append(schema.Enum, term)
		}
		if p.Example != "" {
			schema.Examples = []any{p.Example}
		}
		doc := p.Doc
		param := &huma.Param{Name: p.Name, In: "query", Schema: schema}
		if p.Several {
			param.Schema, param.Explode = &huma.Schema{Type: huma.TypeArray, Items: schema}, new(false)
			doc += "; several, separated by commas or repeated: any of them"
		}
		param.Description = doc
		schema.PrecomputeMessages()
		list = append(list, param)
	}
	return list
}

// FlowsQuery is what may be asked of /v1/flows.
type FlowsQuery struct {
	RecordsFilter
	Accept string `header:"Accept" hidden:"true"`
	Sort   string `query:"sort" default:"-published_at" doc:"What to sort by, - before it for descending: published_at, start_at, end_at or a quantity. What is not known comes last"`
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" doc:"Most records in the answer: 100 without it, and without a limit as NDJSON"`
	Cursor string `query:"cursor" maxLength:"200" doc:"next_cursor of the page before, with the same filters and sort"`
}

// FlowQuery names one record.
type FlowQuery struct {
	FlowID string `path:"flow_id" maxLength:"100" doc:"flow_id of a record"`
}

// ConnectionsQuery is what may be asked of /v1/connections.
type ConnectionsQuery struct {
	FollowedFilter
	Sort  string `query:"sort" default:"-age" doc:"What to sort by, - before it for descending: start_at, end_at or a quantity. What is not known comes last"`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"Most connections in the answer"`
}

// GroupQuery is what may be asked of groups.
type GroupQuery struct {
	IPv4Prefix int `query:"ipv4_prefix" minimum:"0" maximum:"32" default:"24" doc:"Length of the IPv4 networks that server_network and client_network group by"`
	IPv6Prefix int `query:"ipv6_prefix" minimum:"0" maximum:"128" default:"64" doc:"Length of the IPv6 networks"`
}

func (q *GroupQuery) grouping(fields []string) (*query.Grouping, error) {
	g, err := query.NewGrouping(fields, query.Networks{IPv4: q.IPv4Prefix, IPv6: q.IPv6Prefix})
	if err != nil {
		return nil, problem(400, "", badParameter("group_by", strings.Join(fields, ","), err.Error()))
	}
	return g, nil
}

// TeardownQuery is what may be asked of /v1/teardown.
type TeardownQuery struct {
	RecordsFilter
	GroupQuery
	GroupBy []string `query:"group_by" enum:"server,server_port,server_network,client,client_network,close_kind,close_initiator,interface,vlan,server_process,client_process" maxItems:"2" uniqueItems:"true" doc:"At most two; all in one group without it"`
	Sort    string   `query:"sort" enum:"count,-count,fin_wait_1,-fin_wait_1,close_wait,-close_wait,last_ack,-last_ack,teardown,-teardown" default:"-count" doc:"What to sort groups by: how many connections, or the p99 of a phase; - before it for descending"`
	Limit   int      `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"Most groups in the answer"`
}

// TopQuery is what may be asked of /v1/top.
type TopQuery struct {
	RecordsFilter
	GroupQuery
	By      string   `query:"by" required:"true" enum:"bytes,payload,packets,connections,refused,resets,unanswered,half_open,half_closed,retransmits,fin_wait_1,close_wait,last_ack,teardown" doc:"What is compared: amounts, connections of a kind, or the time spent in a phase, added up"`
	GroupBy []string `query:"group_by" enum:"server,server_port,server_network,client,client_network,close_kind,close_initiator,interface,vlan,server_process,client_process" maxItems:"2" uniqueItems:"true" default:"server" doc:"At most two; server without it"`
	Limit   int      `query:"limit" minimum:"1" maximum:"10000" default:"10" doc:"Most groups in the answer"`
}

// SeriesQuery is what may be asked of /v1/series.
type SeriesQuery struct {
	RecordsFilter
	Interval string `query:"interval" doc:"Length of an interval as 10s; chosen for at most 120 points without it"`
}

// StreamQuery is what may be asked of /v1/stream.
type StreamQuery struct {
	RecordsFilter
	LastEventID string `header:"Last-Event-ID" maxLength:"100" doc:"id of the last event that was read: the stream goes on after it"`
}

// checkQuery is a middleware that brings lists, which may be repeated or
// separated by commas, into the one form that huma reads, and refuses what huma
// would pass over in silence: a query that cannot be decoded, a parameter that
// is not there, and one that is repeated or empty and is no list.
func checkQuery(h huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		request, _ := humago.Unwrap(ctx)
		values, err := url.ParseQuery(request.URL.RawQuery)
		if err != nil {
			// An answer that cannot be written has no reader.
			_ = huma.WriteErr(h, ctx, 400, "query: "+err.Error())
			return
		}
		errs := checkNames(values, ctx.Operation().Parameters)
		for _, p := range ctx.Operation().Parameters {
			given, found := values[p.Name]
			switch {
			case p.In != "query" || !found:
			case p.Schema.Type == huma.TypeArray:
				values.Set(p.Name, strings.Join(given, ","))
			case len(given) > 1:
				errs = append(errs, badParameter(p.Name, strings.Join(given, ","), "given more than once"))
			case given[0] == "":
				errs = append(errs, badParameter(p.Name, "", "has no value"))
			}
		}
		if len(errs) > 0 {
			_ = huma.WriteErr(h, ctx, 400, "", errs...)
			return
		}
		request.URL.RawQuery = values.Encode()
		next(ctx)
	}
}

// checkNames refuses parameters that there are not.
func checkNames(values url.Values, params []*huma.Param) (errs []error) {
	known := make(map[string]bool)
	for _, p := range params {
		if p.In == "query" {
			known[p.Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case known[name]:
		case len(known) == 0:
			errs = append(errs, badParameter(name, strings.Join(values[name], ","), "there is no such parameter; this takes none"))
		default:
			errs = append(errs, badParameter(name, strings.Join(values[name], ","),
				fmt.Sprintf("there is no such parameter; there are %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))))
		}
	}
	return errs
}
