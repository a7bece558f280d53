package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/query"
)

// answer is a body as huma wants it.
type answer[T any] struct{ Body T }

func (s *Server) register(h huma.API) {
	register(h, describe("flows", "/v1/flows", "Records of connections that are over", query.Records, 400, 410), s.flows,
		content(h, jsonType, api.FlowsPage{}), content(h, ndjsonType, api.Flow{}))
	register(h, describe("flow", "/v1/flows/{flow_id}", "One record, or a connection that is followed", 0, 400, 404), s.flow)
	register(h, describe("connections", "/v1/connections", "Connections that are followed now", query.Followed, 400), s.connections)
	register(h, describe("teardown", "/v1/teardown", "How long connections took to close, phase by phase", query.Records, 400), s.teardown)
	register(h, describe("top", "/v1/top", "Who has most of something", query.Records, 400), s.top)
	register(h, describe("series", "/v1/series", "What happened in each interval of a time", query.Records, 400), s.series)
	register(h, describe("stream", "/v1/stream", "Records as they are published: server-sent events", query.Records, 400, 503), s.stream,
		&described{eventsType, &huma.Schema{Type: huma.TypeString, Description: "Events flow, whose data is a Flow, and lost, whose data is a StreamLost"}})
	register(h, describe("status", "/v1/status", "How the appliance is doing, and its loss ledger", 0, 400), s.status)
	register(h, describe("health", "/healthz", "Whether the appliance does its work", 0, 400, 503), s.health)
	// huma adds 422 to every operation with parameters; problem makes it 400.
	for _, path := range h.OpenAPI().Paths {
		delete(path.Get.Responses, "422")
	}
	h.OpenAPI().Components.Schemas.Schema(typeOf[api.StreamLost](), true, "StreamLost")
}

// describe is an operation that takes the filter of a scope; 0 for none.
func describe(id, path, summary string, of query.Scope, errors ...int) huma.Operation {
	return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Errors: errors, Parameters: filterParams(of)}
}

func (s *Server) flow(ctx context.Context, q *FlowQuery) (*answer[api.Flow], error) {
	done, err := s.beginScan(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	row, found, err := query.Find(ctx, s.config.History, q.FlowID)
	if err == nil && !found {
		row, found, err = query.FindFollowed(s.config.Live, s.config.Names, q.FlowID)
	}
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, problem(http.StatusNotFound, `flow_id "`+q.FlowID+`" is neither among the records that are kept nor among the connections that are followed`)
	}
	return &answer[api.Flow]{api.NewFlow(&row.Record, row.Names)}, nil
}

func (s *Server) connections(ctx context.Context, q *ConnectionsQuery) (*answer[*api.Connections], error) {
	order, err := parseOrder(q.Sort, query.Followed)
	if err != nil {
		return nil, err
	}
	return scan(ctx, s, func() (*api.Connections, error) {
		ctx, cancel := context.WithTimeout(ctx, s.patience)
		defer cancel()
		found, err := query.Connections(ctx, s.config.Live, s.config.Names, q.filter, order, q.Limit, time.Now().UnixNano())
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, busy(fmt.Sprintf("reading the connections took longer than %v; filter by state, address or port, or sort by age", s.patience))
		}
		return found, err
	})
}

func (s *Server) teardown(ctx context.Context, q *TeardownQuery) (*answer[*api.Teardown], error) {
	g, err := q.grouping(q.GroupBy)
	if err != nil {
		return nil, err
	}
	return scan(ctx, s, func() (*api.Teardown, error) {
		return query.Teardown(ctx, s.config.History, q.filter, g, q.Sort, q.Limit)
	})
}

func (s *Server) top(ctx context.Context, q *TopQuery) (*answer[*api.Top], error) {
	g, err := q.grouping(q.GroupBy)
	if err != nil {
		return nil, err
	}
	return scan(ctx, s, func() (*api.Top, error) {
		return query.Top(ctx, s.config.History, q.filter, g, q.By, q.Limit)
	})
}

func (s *Server) series(ctx context.Context, q *SeriesQuery) (*answer[*api.Series], error) {
	var interval time.Duration
	if q.Interval != "" {
		var err error
		if interval, err = time.ParseDuration(q.Interval); err != nil || interval < time.Millisecond {
			return nil, problem(400, "", badParameter("interval", q.Interval, `not a duration of at least 1ms such as "10s" or "1m"`))
		}
	}
	now := time.Now().UnixNano()
	window, err := query.NewWindow(q.filter, interval, now)
	if err != nil {
		return nil, problem(400, "", badParameter("since", "", err.Error()))
	}
	return scan(ctx, s, func() (*api.Series, error) {
		return query.Series(ctx, s.config.History, s.config.Live, s.config.Names, q.filter, window, now)
	})
}

func (s *Server) status(context.Context, *struct{}) (*answer[api.StatusAnswer], error) {
	return &answer[api.StatusAnswer]{api.NewStatusAnswer(s.config.Status(), time.Now())}, nil
}

func (s *Server) health(context.Context, *struct{}) (*answer[api.Health], error) {
	if err := s.config.Health(); err != nil {
		return nil, problem(http.StatusServiceUnavailable, err.Error())
	}
	return &answer[api.Health]{api.Health{Status: "ok"}}, nil
}

// scan asks in one of the places to scan.
func scan[T any](ctx context.Context, s *Server, ask func() (T, error)) (*answer[T], error) {
	done, err := s.beginScan(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	body, err := ask()
	return &answer[T]{body}, err
}

func parseOrder(text string, of query.Scope) (query.Order, error) {
	order, err := query.ParseOrder(text, of)
	if err != nil {
		return order, problem(400, "", badParameter("sort", text, err.Error()+"; - before it for descending"))
	}
	return order, nil
}

// cursorProblem is the answer to a cursor that cannot be followed.
func cursorProblem(text string, err error) error {
	switch {
	case errors.Is(err, query.ErrCursor):
		return problem(http.StatusBadRequest, "", badParameter("cursor", text, err.Error()))
	case errors.Is(err, query.ErrGone):
		return problem(http.StatusGone, "", badParameter("cursor", text, err.Error()))
	}
	return err
}
