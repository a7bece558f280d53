// Package client asks a running appliance over its HTTP API.
//
// Terms. The server is the appliance's address, a URL. A problem is an answer
// that says why a question was not answered (RFC 9457).
//
// Ownership. A Client may be used from any number of goroutines.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// DefaultServer is where an appliance listens unless it is told otherwise.
	DefaultServer = "http://127.0.0.1:8480"

	// connectTimeout bounds the TLS handshake and the wait for an answer's
	// header. An answer may take as long as it goes on.
	connectTimeout = 30 * time.Second
	// maxProblem bounds what is read of an answer that is none.
	maxProblem = 64 << 10
	// retries are how often a question is asked again that the appliance had no
	// time for, and maxRetryAfter how long it may ask to wait.
	retries       = 2
	maxRetryAfter = 5 * time.Second
)

// Config says which appliance is asked, and how.
type Config struct {
	Server    string // http or https URL; empty for DefaultServer
	TokenFile string // file whose first token is sent; empty for none
	CAFile    string // certificates, PEM, that are trusted beside the system's; empty for none
}

// Client asks one appliance.
type Client struct {
	server *url.URL
	token  string
	http   *http.Client
}

// New checks the configuration and reads its files. It asks nothing yet.
func New(config Config) (*Client, error) {
	if config.Server == "" {
		config.Server = DefaultServer
	}
	server, err := url.Parse(config.Server)
	if err != nil || server.Scheme != "http" && server.Scheme != "https" || server.Host == "" || server.RawQuery != "" {
		return nil, fmt.Errorf("server %q: not a URL such as %s", config.Server, DefaultServer)
	}
	server.Path = strings.TrimSuffix(server.Path, "/")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSHandshakeTimeout, transport.ResponseHeaderTimeout = connectTimeout, connectTimeout
	c := &Client{server: server, http: &http.Client{
		Transport: transport,
		// An appliance sends nobody elsewhere, least of all with a token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if config.TokenFile != "" {
		if c.token, err = readToken(config.TokenFile); err != nil {
			return nil, err
		}
	}
	if config.CAFile != "" {
		if transport.TLSClientConfig, err = trust(config.CAFile); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// readToken returns the first token of a file as an appliance reads it.
func readToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line, nil
		}
	}
	return "", fmt.Errorf("token file %q: there is no token in it", path)
}

func trust(path string) (*tls.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("CA file %q: there is no certificate in it", path)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// Server is the URL that is asked.
func (c *Client) Server() string { return c.server.String() }

// Get asks a question at a path, which is escaped as in a URL, and reads its answer, a JSON object, into v. The error is
// a *Problem where the appliance gave one, an *UnreachableError where nobody
// answered.
func (c *Client) Get(ctx context.Context, path string, query url.Values, v any) error {
	body, err := c.Body(ctx, path, query)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("answer of %s%s: %w", c.server, path, err)
	}
	return nil
}

// Body asks a question and returns its answer as it came.
func (c *Client) Body(ctx context.Context, path string, query url.Values) ([]byte, error) {
	answer, err := c.Open(ctx, path, query, "application/json")
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("answer of %s%s: %w", c.server, path, err)
	}
	return body, nil
}

// Open asks a question whose answer is read as it comes, in the media type that
// accept names. The body is the caller's to close.
func (c *Client) Open(ctx context.Context, path string, query url.Values, accept string) (*http.Response, error) {
	for try := 0; ; try++ {
		answer, err := c.send(ctx, path, query, accept)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode == http.StatusOK {
			return answer, nil
		}
		p := readProblem(answer)
		if p.RetryAfter == 0 || p.RetryAfter > maxRetryAfter || try == retries {
			return nil, p
		}
		select {
		case <-time.After(p.RetryAfter):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (c *Client) send(ctx context.Context, path string, query url.Values, accept string) (*http.Response, error) {
	location := *c.server
	location.RawPath = c.server.EscapedPath() + path
	var err error
	if location.Path, err = url.PathUnescape(location.RawPath); err != nil {
		return nil, fmt.Errorf("path %q: %w", path, err)
	}
	location.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	request.Header.Set("User-Agent", "finwait")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(request)
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	var sent *url.Error
	if errors.As(err, &sent) {
		err = sent.Err // the URL is named already
	}
	return nil, &UnreachableError{Server: c.Server(), Err: err}
}

// UnreachableError is a question that nobody answered.
type UnreachableError struct {
	Server string
	Err    error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no answer from %s: %v", e.Server, e.Err)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Problem is an appliance's answer that says why it does not answer (RFC 9457).
type Problem struct {
	Status     int           `json:"status"`
	Title      string        `json:"title"`
	Detail     string        `json:"detail"`
	RetryAfter time.Duration `json:"-"` // 0 for no such advice
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return fmt.Sprintf("the appliance answers %d %s", p.Status, p.Title)
	}
	return p.Detail
}

func readProblem(answer *http.Response) *Problem {
	defer func() { _ = answer.Body.Close() }()
	p := new(Problem)
	// What is no problem detail comes from something between, such as a proxy:
	// its status says what there is to say.
	if body, err := io.ReadAll(io.LimitReader(answer.Body, maxProblem)); err == nil && strings.HasPrefix(answer.Header.Get("Content-Type"), "application/problem+json") {
		if json.Unmarshal(body, p) != nil {
			p = new(Problem)
		}
	}
	p.Status = answer.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}
