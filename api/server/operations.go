package server

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// answer is a body as huma wants it.
type answer[T any] struct{ Body T }

type flowsBody struct {
	Flows []api.Flow `json:"flows" nullable:"false" doc:"Newest first"`
}

type connectionsBody struct {
	Connections []api.Flow `json:"connections" nullable:"false" doc:"In no order; end_reason is empty"`
}

func (s *Server) register(h huma.API) {
	operation := func(id, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Errors: errors}
	}
	huma.Register(h, operation("flows", "/v1/flows", "Records of connections that are over, newest first", 400), s.flows)
	huma.Register(h, operation("connections", "/v1/connections", "Connections that are followed now", 400), s.connections)
	huma.Register(h, operation("teardown", "/v1/teardown", "How long connections took to close, phase by phase", 400), s.teardown)
	huma.Register(h, operation("status", "/v1/status", "How the appliance is doing, and its loss ledger", 400), s.status)
	huma.Register(h, operation("health", "/healthz", "Whether the appliance does its work", 400, 503), s.health)
	// huma adds 422 to every operation with parameters; problem makes it 400.
	for _, path := range h.OpenAPI().Paths {
		delete(path.Get.Responses, "422")
	}
}

func (s *Server) flows(ctx context.Context, q *RecordsQuery) (*answer[flowsBody], error) {
	done, err := s.beginScan(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	f, flows := q.filter(), []api.Flow{}
	err = s.config.History.Scan(ctx, q.Since.at, func(r *flowtable.Record, n *api.Names) bool {
		if f.match(r) {
			flows = append(flows, api.NewFlow(r, n))
		}
		return len(flows) < q.Limit
	})
	if err != nil {
		return nil, err
	}
	return &answer[flowsBody]{flowsBody{flows}}, nil
}

func (s *Server) connections(ctx context.Context, q *ConnectionsQuery) (*answer[connectionsBody], error) {
	done, err := s.beginScan(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	f, connections := q.filter(), []api.Flow{}
	err = s.config.Live.Connections(func(r *flowtable.Record) bool {
		if f.match(r) {
			connections = append(connections, api.NewFlow(r, s.config.Names))
		}
		return len(connections) < q.Limit && ctx.Err() == nil
	})
	if err != nil {
		return nil, err
	}
	return &answer[connectionsBody]{connectionsBody{connections}}, nil
}

func (s *Server) teardown(ctx context.Context, q *TeardownQuery) (*answer[Teardown], error) {
	done, err := s.beginScan(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	f, t := q.filter(), newTeardowns(q.GroupBy)
	err = s.config.History.Scan(ctx, q.Since.at, func(r *flowtable.Record, n *api.Names) bool {
		if r.EndReason != flowtable.EndActiveTimeout && f.match(r) {
			t.add(r, n)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	by := q.GroupBy
	if by == nil {
		by = []string{}
	}
	return &answer[Teardown]{Teardown{GroupBy: by, Count: t.count, GroupsTotal: len(t.groups), Groups: t.largest(q.Limit)}}, nil
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

// beginScan waits for one of the places to scan; done gives it back.
func (s *Server) beginScan(ctx context.Context) (done func(), err error) {
	select {
	case s.scans <- struct{}{}:
		return func() { <-s.scans }, nil
	case <-ctx.Done():
		return nil, problem(http.StatusServiceUnavailable, "the query ended while others were served")
	}
}
