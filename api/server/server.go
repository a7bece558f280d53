// Package server is the HTTP server that answers questions about connections:
// JSON under /v1, described by the OpenAPI document that it generates.
//
// Ownership. A Server, and everything it reads through (History, Live, the
// functions in Config), is used from many goroutines at once.
package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/dashboard"
	"github.com/finwait/finwait/api/history"
)

// Config is what a Server answers from. All functions and interfaces are called
// from many goroutines at once.
type Config struct {
	Version string // of the appliance
	History history.History
	Live    history.Live
	Names   *api.Names // of the live connections
	// Status describes the appliance.
	Status func() api.Status
	// Mount registers what the server answers besides, such as metrics and the
	// page; nil for nothing.
	Mount func(mux *http.ServeMux)
	// Health returns why the appliance cannot do its work, nil where it can.
	// Nil means that it always can.
	Health func() error
}

// Server answers the HTTP requests of the appliance. Who may ask, and how much
// a client may take, is decided before it: by package access.
type Server struct {
	config   Config
	handler  http.Handler
	scans    scans
	streams  chan struct{}
	patience time.Duration // lookPatience
}

// New checks the configuration and makes a server. It listens nowhere yet.
func New(config Config) (*Server, error) {
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"History", config.History == nil},
		{"Live", config.Live == nil},
		{"Names", config.Names == nil},
		{"Status", config.Status == nil},
	} {
		if part.missing {
			return nil, fmt.Errorf("api configuration: %q is not set", part.name)
		}
	}
	if config.Health == nil {
		config.Health = func() error { return nil }
	}
	s := &Server{config: config, scans: newScans(), streams: make(chan struct{}, maxStreams), patience: lookPatience}
	mux := http.NewServeMux()
	operations := s.operations(mux)
	document, err := json.Marshal(operations.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("openapi document: %w", err)
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		// The client is gone where this fails; there is nobody left to tell.
		_, _ = w.Write(document)
	})
	page, err := dashboard.New()
	if err != nil {
		return nil, err
	}
	page.Register(mux)
	if config.Mount != nil {
		config.Mount(mux)
	}
	s.handler = answered(mux)
	return s, nil
}

// OpenAPI describes what every Server answers, for those who ask one.
func OpenAPI(version string) *huma.OpenAPI {
	s := &Server{config: Config{Version: version}}
	return s.operations(http.NewServeMux()).OpenAPI()
}

// operations has mux answer the API.
func (s *Server) operations(mux *http.ServeMux) huma.API {
	// huma's own documents are off: its page of documentation loads from a
	// CDN, and its OpenAPI handler fills a cache without a lock.
	documents := huma.DefaultConfig("finwait", s.config.Version)
	documents.OpenAPIPath, documents.DocsPath, documents.SchemasPath = "", "", ""
	documents.CreateHooks = nil
	operations := humago.New(mux, documents)
	operations.UseMiddleware(checkQuery(operations))
	s.register(operations)
	return operations
}

// Handler answers the requests.
func (s *Server) Handler() http.Handler { return s.handler }

// answered answers paths and methods that are not there with problem details.
func answered(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		// The mux's own answer in plain text tells which of the two it is.
		refusal := refusal{header: make(http.Header)}
		handler.ServeHTTP(&refusal, r)
		if refusal.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", refusal.header.Get("Allow"))
			writeProblem(w, refusal.status, fmt.Sprintf("method %q is not allowed on %q", r.Method, r.URL.Path))
			return
		}
		writeProblem(w, http.StatusNotFound, fmt.Sprintf("there is no %q; /openapi.json lists what there is", r.URL.Path))
	})
}

// refusal keeps the status and the header of an answer and drops its body.
type refusal struct {
	header http.Header
	status int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) Write(p []byte) (int, error) { return len(p), nil }
func (r *refusal) WriteHeader(status int)      { r.status = status }
