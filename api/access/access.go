package access

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// What one client may take.
const (
	shutdownTimeout = 5 * time.Second
	maxHeaderOctets = 16 << 10
	maxBodyOctets   = 64 << 10 // no question has a body; this bounds what is thrown away
	maxStreams      = 64       // requests at once on one connection of HTTP/2
)

// patience is how long a client is waited for.
type patience struct {
	header  time.Duration // until the header of a request is here
	request time.Duration // until the whole request is
	write   time.Duration // until a piece of an answer was taken
	idle    time.Duration // between two requests
}

var defaultPatience = patience{header: 5 * time.Second, request: 10 * time.Second, write: 30 * time.Second, idle: 2 * time.Minute}

// DefaultConnections is how many connections are kept at a time: a few hundred
// browsers and scrapers, in some 20 MiB.
const DefaultConnections = 512

// Config says who may ask.
type Config struct {
	// TokenFile has the tokens of which every request needs one, but for what
	// is Public; empty where everybody who reaches the listener may ask.
	TokenFile string
	// CertificateFile and KeyFile are a chain and its key in PEM; both empty for
	// plain HTTP. All three files are read again when they change.
	CertificateFile, KeyFile string
	// Hosts are names by which this machine may be asked without a token,
	// beside its addresses and localhost.
	Hosts []string
	// Public tells which requests need no token: those for the page, which asks
	// for it. Nil for none.
	Public func(*http.Request) bool
	// Connections is how many are kept at a time; 0 for DefaultConnections.
	Connections int
	// Report tells the operator what became of a file that changed; nil for
	// nobody. It is called from any goroutine.
	Report func(line string)
}

// Access lets requests through, or refuses and counts them.
type Access struct {
	config      Config
	tokens      *tokens      // nil for none
	certificate *certificate // nil for none
	patience    patience
	observe     func(route string, status int, took time.Duration)
	refusals    refusals
	serving     atomic.Pointer[connections]
}

// New reads the files that config names. The error names the one at fault.
func New(config Config) (*Access, error) {
	if config.Public == nil {
		config.Public = func(*http.Request) bool { return false }
	}
	if config.Connections <= 0 {
		config.Connections = DefaultConnections
	}
	if config.Report == nil {
		config.Report = func(string) {}
	}
	for i, host := range config.Hosts {
		config.Hosts[i] = strings.ToLower(strings.TrimSuffix(host, "."))
	}
	a := &Access{config: config, patience: defaultPatience, observe: func(string, int, time.Duration) {}}
	var err error
	if config.TokenFile != "" {
		if a.tokens, err = newTokens(config.TokenFile, config.Report); err != nil {
			return nil, err
		}
	}
	switch {
	case config.CertificateFile == "" && config.KeyFile == "":
	case config.CertificateFile == "" || config.KeyFile == "":
		return nil, errors.New("a certificate and its key are needed together")
	default:
		if a.certificate, err = newCertificate(config.CertificateFile, config.KeyFile, config.Report); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Observe has f called after every answer, from many goroutines, with the pattern
// of its route without the method, empty where it reached none, its status, and
// how long it took. It is called before Serve.
func (a *Access) Observe(f func(route string, status int, took time.Duration)) { a.observe = f }

// Secure tells whether connections are encrypted.
func (a *Access) Secure() bool { return a.certificate != nil }

// Warnings say what an operator should better change, one sentence each.
func (a *Access) Warnings() []string {
	var warnings []string
	for _, path := range []string{a.config.TokenFile, a.config.KeyFile} {
		if mode, others := othersMayRead(path); others {
			warnings = append(warnings, fmt.Sprintf("other users of this machine may read %q (mode %04o): chmod 600 it", path, mode))
		}
	}
	return warnings
}

// Refusals lists how many connections and requests were refused since the
// start, by reason.
func (a *Access) Refusals() []Refusal { return a.refusals.list() }

// Connections is how many there are now, and how many there may be.
func (a *Access) Connections() (now, limit int) {
	if serving := a.serving.Load(); serving != nil {
		now = serving.count()
	}
	return now, a.config.Connections
}

// Serve answers on listener by handler, and closes it, until ctx ends; then
// requests under way have a few seconds to finish, and are cut off after. It
// returns nil after such an end. It is called once.
func (a *Access) Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	bounded := newConnections(listener, a)
	a.serving.Store(bounded)
	server := &http.Server{
		Handler:                      a.Handler(handler),
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            a.patience.header,
		ReadTimeout:                  a.patience.request,
		IdleTimeout:                  a.patience.idle,
		MaxHeaderBytes:               maxHeaderOctets,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ConnState:                    bounded.follow,
		ConnContext:                  bounded.note,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), endingKey{}, ctx.Done())
		},
		ErrorLog: log.New(panics(a.config.Report), "", 0),
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
	err := a.listen(server, bounded)
	if stop() {
		return fmt.Errorf("serve http on %q: %w", listener.Addr(), err)
	}
	if err := <-ended; err != nil {
		return fmt.Errorf("shut down http on %q: %w", listener.Addr(), err)
	}
	return nil
}

// endingKey is where a request's context has the end of Serve's.
type endingKey struct{}

// Ending is closed when the server that a request came by is to end, which a
// stream should do then too; nil where it came by none.
func Ending(ctx context.Context) <-chan struct{} {
	ending, _ := ctx.Value(endingKey{}).(<-chan struct{})
	return ending
}

// panics lets through what net/http says of a handler's panic, a defect; all
// else that it says is about clients, which are counted.
type panics func(line string)

// Write implements io.Writer.
func (report panics) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("http: panic serving")) {
		report(string(bytes.TrimSpace(line)))
	}
	return len(line), nil
}

func (a *Access) listen(server *http.Server, listener net.Listener) error {
	if a.certificate == nil {
		return server.Serve(listener)
	}
	server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: a.certificate.get}
	return server.ServeTLS(listener, "", "")
}
