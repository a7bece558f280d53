package server

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// The media types of answers.
const (
	jsonType   = "application/json"
	ndjsonType = "application/x-ndjson"
	eventsType = "text/event-stream"
)

// described is one media type of an answer that is written by the operation
// itself, and its schema.
type described struct {
	mediaType string
	schema    *huma.Schema
}

func content(h huma.API, mediaType string, body any) *described {
	t := reflect.TypeOf(body)
	return &described{mediaType, h.OpenAPI().Components.Schemas.Schema(t, true, t.Name())}
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// register adds an operation, and what it answers where it writes that itself.
func register[I, O any](h huma.API, o huma.Operation, handler func(context.Context, *I) (*O, error), contents ...*described) {
	if len(contents) > 0 {
		ok := &huma.Response{Description: http.StatusText(http.StatusOK), Content: make(map[string]*huma.MediaType)}
		for _, c := range contents {
			ok.Content[c.mediaType] = &huma.MediaType{Schema: c.schema}
		}
		o.Responses = map[string]*huma.Response{"200": ok}
	}
	huma.Register(h, o, handler)
}
