// Package server is the HTTP server that answers questions about connections:
// JSON under /v1, described by the OpenAPI document that it generates.
//
// Ownership. A Server, and everything it reads through (History, Live, the
// functions in Config), is used from many goroutines at once.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/dashboard"
	"github.com/finwait/finwait/api/history"
)

// What one client may take from the server.
const (
	headerTimeout   = 5 * time.Second
	readTimeout     = 10 * time.Second
	writeTimeout    = time.Minute
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
	maxHeaderOctets = 16 << 10
	maxBodyOctets   = 64 << 10 // no operation reads a body; this bounds what is thrown away
)

// maxScans is how many requests may read the history or the table at once: a
// scan is bound by memory, and a query must leave cores to the workers.
const maxScans = 2

// Config is what a Server answers from. All functions and interfaces are called
// from many goroutines at once.
type Config struct {
	Version string // of the appliance
	History history.History
	Live    history.Live
	Names   *api.Names // of the live connections
	// Status describes the appliance.
	Status func() api.Status
	// Health returns why the appliance cannot do its work, nil where it can.
	// Nil means that it always can.
	Health func() error
}

// Server is the HTTP server of the appliance.
type Server struct {
	config  Config
	handler http.Handler
	scans   chan struct{}
	streams chan struct{}
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
	s := &Server{config: config, scans: make(chan struct{}, maxScans), streams: make(chan struct{}, maxStreams)}
	mux := http.NewServeMux()
	// huma's own documents are off: its page of documentation loads from a
	// CDN, and its OpenAPI handler fills a cache without a lock.
	documents := huma.DefaultConfig("finwait", config.Version)
	documents.OpenAPIPath, documents.DocsPath, documents.SchemasPath = "", "", ""
	documents.CreateHooks = nil
	operations := humago.New(mux, documents)
	operations.UseMiddleware(checkQuery(operations))
	s.register(operations)
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
	s.handler = guard(mux)
	return s, nil
}

// Handler answers the requests; Serve uses it.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers on listener, and closes it, until ctx ends; then requests under
// way have a few seconds to finish, and are cut off after. It returns nil after
// such an end. A Server may serve on several listeners at once.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderOctets,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), stopKey{}, ctx.Done())
		},
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close() // what is slower than that is cut off
		}
		ended <- err
	})
	err := server.Serve(listener)
	if stop() {
		return fmt.Errorf("serve http on %q: %w", listener.Addr(), err)
	}
	if err := <-ended; err != nil {
		return fmt.Errorf("shut down http on %q: %w", listener.Addr(), err)
	}
	return nil
}

// guard bounds bodies, answers paths and methods that are not there with
// problem details, and sets the headers that all answers have.
func guard(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyOctets)
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
