package server

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/access"
	"github.com/finwait/finwait/api/query"
)

const (
	// maxStreams is how many readers may follow at once.
	maxStreams = 16
	// streamInterval is how often a stream looks for new records. The
	// publisher does not know of streams.
	streamInterval = 100 * time.Millisecond
	// heartbeatInterval is how long a stream is silent at most.
	heartbeatInterval = 15 * time.Second
)

// stream follows the history: events flow and lost.
func (s *Server) stream(ctx context.Context, q *StreamQuery) (*huma.StreamResponse, error) {
	select {
	case s.streams <- struct{}{}:
	default:
		return nil, problem(http.StatusServiceUnavailable, fmt.Sprintf("%d streams are served already, which is as many as there may be; end one", maxStreams))
	}
	batches, err := s.follow(ctx, q)
	if err != nil {
		<-s.streams
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer func() { <-s.streams }()
		request, w := humago.Unwrap(ctx)
		w.Header().Set("Content-Type", eventsType)
		if request.Method == http.MethodHead {
			return
		}
		e := &events{w: w, out: http.NewResponseController(w), history: s.config.History.Span().ID}
		// The reader is gone where this fails; there is nobody left to tell.
		_ = s.serveEvents(request.Context(), e, batches)
	}}, nil
}

// follow begins after the last event that the reader had, or with since, or now.
func (s *Server) follow(ctx context.Context, q *StreamQuery) (*query.Batches, error) {
	batches, err := query.NewBatches(ctx, s.config.History, q.filter, true)
	if err != nil {
		return nil, err
	}
	span := s.config.History.Span()
	id, position, _ := strings.Cut(q.LastEventID, "-")
	if last, err := strconv.ParseUint(position, 10, 63); err == nil && id == strconv.FormatUint(span.ID, 36) {
		batches.Begin(last + 1)
	} else if !q.filter.HasSince {
		batches.Begin(span.End)
	}
	return batches, nil
}

func (s *Server) serveEvents(ctx context.Context, e *events, batches *query.Batches) error {
	stop := access.Ending(ctx)
	tick := time.NewTicker(streamInterval)
	defer tick.Stop()
	if err := e.comment("finwait"); err != nil { // the reader learns that it is served
		return err
	}
	for {
		rows, missed, err := s.nextBatch(ctx, batches)
		if err != nil {
			return err
		}
		if missed > 0 {
			if err := e.lost(missed); err != nil {
				return err
			}
		}
		switch {
		case len(rows) > 0:
			err = e.flows(rows)
		case time.Since(e.last) >= heartbeatInterval:
			err = e.comment("heartbeat")
		}
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			return nil
		case <-tick.C:
			batches.Extend()
		}
	}
}

// events writes server-sent events (HTML Living Standard, section 9.2).
type events struct {
	w       http.ResponseWriter
	out     *http.ResponseController
	history uint64 // its ID
	last    time.Time
	b       []byte
}

func (e *events) flows(rows []query.Row) error {
	e.b = e.b[:0]
	for i := range rows {
		e.b = append(e.b, "id: "...)
		e.b = strconv.AppendUint(e.b, e.history, 36)
		e.b = strconv.AppendUint(append(e.b, '-'), rows[i].Position, 10)
		e.b = append(e.b, "\nevent: flow\ndata: "...)
		e.b = append(api.AppendFlow(e.b, &rows[i].Record, rows[i].Names), "\n\n"...)
	}
	return e.flush()
}

func (e *events) lost(records uint64) error {
	e.b = fmt.Appendf(e.b[:0], "event: lost\ndata: {\"records\":%d}\n\n", records)
	return e.flush()
}

func (e *events) comment(text string) error {
	e.b = append(append(append(e.b[:0], ": "...), text...), "\n\n"...)
	return e.flush()
}

func (e *events) flush() error {
	e.last = time.Now()
	// Not every ResponseWriter has a deadline; then the server's holds.
	_ = e.out.SetWriteDeadline(e.last.Add(batchTimeout))
	if _, err := e.w.Write(e.b); err != nil {
		return err
	}
	return e.out.Flush()
}
