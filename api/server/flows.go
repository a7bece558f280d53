package server

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/query"
)

const (
	defaultLimit = 100
	// batchTimeout is how long a reader may take for one batch of lines or
	// events before it is cut off.
	batchTimeout = 30 * time.Second
)

// Trailers of an answer of lines.
const (
	flowsTrailer       = "Finwait-Flows"
	overwrittenTrailer = "Finwait-Overwritten"
)

// flows answers with a page, or with lines without an end.
func (s *Server) flows(ctx context.Context, q *FlowsQuery) (*huma.StreamResponse, error) {
	order, err := parseOrder(q.Sort, query.Records)
	if err != nil {
		return nil, err
	}
	if accepts(q.Accept, ndjsonType) {
		return s.lines(q, order)
	}
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	done, err := s.beginScan(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	page, err := query.Flows(ctx, s.config.History, q.filter, order, q.Limit, q.Cursor)
	if err != nil {
		return nil, cursorProblem(q.Cursor, err)
	}
	body, err := appendPage(nil, page)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", jsonType)
		// The client is gone where this fails; there is nobody left to tell.
		_, _ = ctx.BodyWriter().Write(body)
	}}, nil
}

// appendPage appends what encoding/json makes of an api.FlowsPage.
func appendPage(b []byte, p *query.Page) ([]byte, error) {
	b = append(b, `{"flows":[`...)
	for i := range p.Rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = api.AppendFlow(b, &p.Rows[i].Record, p.Rows[i].Names)
	}
	rest := struct {
		NextCursor *string         `json:"next_cursor"`
		History    api.HistorySpan `json:"history"`
	}{History: query.SpanAnswer(p.Span)}
	if p.Next != "" {
		rest.NextCursor = &p.Next
	}
	tail, err := json.Marshal(rest)
	if err != nil {
		return nil, err
	}
	return append(append(append(b, `],`...), tail[1:]...), '\n'), nil
}

// lines answers with a record a line. It scans a block at a time, and holds
// nothing while it waits for the reader.
func (s *Server) lines(q *FlowsQuery, order query.Order) (*huma.StreamResponse, error) {
	switch {
	case !order.ByPublication():
		return nil, problem(http.StatusBadRequest, "", badParameter("sort", q.Sort, "as "+ndjsonType+" records come by published_at or -published_at"))
	case q.Cursor != "":
		return nil, problem(http.StatusBadRequest, "", badParameter("cursor", q.Cursor, "there are no pages of "+ndjsonType))
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		request, w := humago.Unwrap(ctx)
		w.Header().Set("Content-Type", ndjsonType)
		w.Header().Set("Trailer", flowsTrailer+", "+overwrittenTrailer)
		if request.Method == http.MethodHead {
			return
		}
		flows, overwritten, err := s.writeLines(request.Context(), w, q, !order.Descending)
		if err != nil {
			// The answer has begun: cutting it off is the only way to say so.
			panic(http.ErrAbortHandler)
		}
		w.Header().Set(flowsTrailer, strconv.FormatUint(flows, 10))
		w.Header().Set(overwrittenTrailer, strconv.FormatUint(overwritten, 10))
	}}, nil
}

func (s *Server) writeLines(ctx context.Context, w http.ResponseWriter, q *FlowsQuery, ascending bool) (flows, overwritten uint64, err error) {
	batches, err := query.NewBatches(ctx, s.config.History, q.filter, ascending)
	if err != nil {
		return 0, 0, err
	}
	out := http.NewResponseController(w)
	var b []byte
	for {
		rows, missed, err := s.nextBatch(ctx, batches)
		overwritten += missed
		if err != nil {
			return flows, overwritten, err
		}
		if left := uint64(q.Limit) - flows; q.Limit > 0 && uint64(len(rows)) > left {
			rows = rows[:left]
		}
		if len(rows) == 0 {
			return flows, overwritten, nil
		}
		b = b[:0]
		for i := range rows {
			b = append(api.AppendFlow(b, &rows[i].Record, rows[i].Names), '\n')
		}
		flows += uint64(len(rows))
		// Not every ResponseWriter has a deadline; then the server's holds.
		_ = out.SetWriteDeadline(time.Now().Add(batchTimeout))
		if _, err := w.Write(b); err != nil {
			return flows, overwritten, err
		}
	}
}

// nextBatch takes a place to scan for one batch.
func (s *Server) nextBatch(ctx context.Context, batches *query.Batches) ([]query.Row, uint64, error) {
	done, err := s.beginScan(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	return batches.Next(ctx)
}

// accepts tells whether a media type is what the Accept header asks for by its
// name.
func accepts(header, mediaType string) bool {
	for part := range strings.SplitSeq(header, ",") {
		if name, params, err := mime.ParseMediaType(strings.TrimSpace(part)); err == nil && name == mediaType && params["q"] != "0" {
			return true
		}
	}
	return false
}
