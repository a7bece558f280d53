package access

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// deadline bounds every wait for something that must happen.
const deadline = 20 * time.Second

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, deadline)
		}
	}
}

// said collects what an operator is told.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) report(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

func (s *said) contains(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(strings.Join(s.lines, "\n"), text)
}

// site is an Access that serves a few paths.
type site struct {
	*testing.T
	*Access
	said    said
	address string
	stream  chan struct{} // lets /stream write a line
}

func newSite(t *testing.T, config Config) *site { return newSiteOf(t, config, defaultPatience) }

func newSiteOf(t *testing.T, config Config, patience patience) *site {
	t.Helper()
	s := &site{T: t, stream: make(chan struct{})}
	config.Report = s.said.report
	var err error
	if s.Access, err = New(config); err != nil {
		t.Fatal(err)
	}
	s.patience = patience
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener, s.paths()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) paths() http.Handler {
	mux := http.NewServeMux()
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	mux.HandleFunc("GET /question", say("answer"))
	mux.HandleFunc("GET /{$}", say("page"))
	mux.HandleFunc("GET /wrong", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	mux.HandleFunc("GET /busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("GET /long", func(w http.ResponseWriter, _ *http.Request) {
		for part := make([]byte, 1<<20); ; {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case <-s.stream:
				_, _ = io.WriteString(w, "line\n")
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	return mux
}

// refused is how often something was refused so far.
func (s *site) refused(why reason) uint64 { return s.refusals[why].Load() }

func (s *site) awaitRefused(why reason, n uint64) {
	s.Helper()
	eventually(s.T, fmt.Sprintf("%d refusals for %s", n, reasonNames[why]), func() bool { return s.refused(why) >= n })
	if got := s.refused(why); got != n {
		s.Errorf("%d refusals for %s, want %d", got, reasonNames[why], n)
	}
}

// ask sends a request with headers written as "Name: value".
func (s *site) ask(path string, headers ...string) (*http.Response, string) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.address+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		s.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer, string(body)
}

// dial opens a connection and writes some octets.
func (s *site) dial(text string) net.Conn {
	s.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, text) // the server may have heard enough
	return c
}

// request is a whole one.
func request(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n" }

// status reads the status of the answer on a connection, 0 where it ended.
func status(c net.Conn) int {
	_ = c.SetReadDeadline(time.Now().Add(deadline))
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func checkProblem(t *testing.T, answer *http.Response, body string) {
	t.Helper()
	var p struct {
		Title, Detail string
		Status        int
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Status != answer.StatusCode || p.Title != http.StatusText(p.Status) || p.Detail == "" ||
		answer.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: no problem detail: %q %s", answer.Status, answer.Header.Get("Content-Type"), body)
	}
}

// Requests under way are answered before Serve returns.
func TestServeFinishesWhatItBegan(t *testing.T) {
	a, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked, answer := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	served, answered := make(chan error, 1), make(chan error, 1)
	go func() {
		served <- a.Serve(ctx, listener, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(asked); <-answer }))
	}()
	go func() {
		response, err := http.Get("http://" + listener.Addr().String())
		if err == nil {
			err = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				err = errors.New(response.Status)
			}
		}
		answered <- err
	}()
	<-asked
	cancel()
	eventually(t, "refusal of new connections", func() bool {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(answer)
	if err := <-answered; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestServeTellsWhyItEnded(t *testing.T) {
	a, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Serve(t.Context(), listener, http.NotFoundHandler()); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), listener.Addr().String()) {
		t.Errorf("serve on a closed listener: %v", err)
	}
}
