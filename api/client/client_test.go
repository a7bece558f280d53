package client

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func newClient(t *testing.T, config Config) *Client {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGet(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"path":%q,"query":%q,"authorization":%q,"accept":%q}`, r.URL.Path, r.URL.RawQuery, r.Header.Get("Authorization"), r.Header.Get("Accept"))
	}))
	defer server.Close()
	c := newClient(t, Config{Server: server.URL + "/behind/a/proxy/", TokenFile: file(t, "# mine\n\nthe-token\nanother\n")})
	var got struct{ Path, Query, Authorization, Accept string }
	if err := c.Get(t.Context(), "/v1/flows", url.Values{"close_kind": {"reset"}, "server": {"::1"}}, &got); err != nil {
		t.Fatal(err)
	}
	if got.Path != "/behind/a/proxy/v1/flows" || got.Query != "close_kind=reset&server=%3A%3A1" || got.Authorization != "Bearer the-token" || got.Accept != "application/json" {
		t.Errorf("the appliance was asked %+v", got)
	}
}

func TestProblems(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		status, header, body := 0, w.Header(), ""
		switch r.URL.Path {
		case "/problem":
			header.Set("Content-Type", "application/problem+json")
			status, body = 400, `{"title":"Bad Request","status":400,"detail":"parameter \"limit\": too large"}`
		case "/proxy":
			header.Set("Content-Type", "text/html")
			status, body = 502, "<html>"
		case "/elsewhere":
			header.Set("Location", "http://192.0.2.1/")
			status = 302
		case "/never":
			header.Set("Retry-After", "3600")
			status = 503
		case "/soon":
			if asked.Load() == 1 {
				header.Set("Retry-After", "1")
				status = 503
				break
			}
			status, body = 200, "{}"
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	c := newClient(t, Config{Server: server.URL})
	for _, want := range []struct {
		path, says string
		status     int
		asked      int64
	}{
		{"/problem", `parameter "limit": too large`, 400, 1},
		{"/proxy", "502 Bad Gateway", 502, 1},
		{"/elsewhere", "302 Found", 302, 1},
		{"/never", "503 Service Unavailable", 503, 1},
		{"/soon", "", 0, 2},
	} {
		asked.Store(0)
		_, err := c.Body(t.Context(), want.path, nil)
		var p *Problem
		if want.says == "" {
			if err != nil {
				t.Errorf("%s: %v", want.path, err)
			}
		} else if !errors.As(err, &p) || p.Status != want.status || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s: %v", want.path, err)
		}
		if asked.Load() != want.asked {
			t.Errorf("%s: asked %d times, want %d", want.path, asked.Load(), want.asked)
		}
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := newClient(t, Config{Server: server.URL}).Body(t.Context(), "/v1/flows", nil)
	var gone *UnreachableError
	if !errors.As(err, &gone) || gone.Server != server.URL || strings.Count(err.Error(), server.URL) != 1 || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestCAFile(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	defer server.Close()
	server.Config.ErrorLog = nil
	if _, err := newClient(t, Config{Server: server.URL}).Body(t.Context(), "/", nil); err == nil {
		t.Error("a certificate that nobody signed is trusted")
	}
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	if _, err := newClient(t, Config{Server: server.URL, CAFile: file(t, ca)}).Body(t.Context(), "/", nil); err != nil {
		t.Errorf("with its certificate: %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		config Config
		says   string
	}{
		{Config{Server: "10.0.0.7"}, `server "10.0.0.7": not a URL`},
		{Config{Server: "ftp://10.0.0.7"}, "not a URL"},
		{Config{Server: "http://"}, "not a URL"},
		{Config{Server: "http://a/?x=y"}, "not a URL"},
		{Config{TokenFile: "/nowhere"}, "no such file"},
		{Config{TokenFile: file(t, "# none\n")}, "no token"},
		{Config{CAFile: "/nowhere"}, "no such file"},
		{Config{CAFile: file(t, "text")}, "no certificate"},
	} {
		if _, err := New(c.config); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.says)
		}
	}
}

func TestEvents(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, ": hello\n\nid: 1\nevent: flow\ndata: {\"a\":\ndata: 1}\n\nevent: lost\ndata: {\"records\":7}\n\n: quiet\n\n")
		w.(http.Flusher).Flush()
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	c := newClient(t, Config{Server: server.URL})
	for path, says := range map[string]string{"/whole": "", "/cut": "cut off"} {
		var got []string
		err := c.Events(t.Context(), path, nil, func(e Event) error {
			got = append(got, e.Name+" "+e.ID+" "+string(e.Data))
			return nil
		})
		if want := "flow 1 {\"a\":\n1}|lost 1 {\"records\":7}"; strings.Join(got, "|") != want {
			t.Errorf("%s: events %q, want %q", path, got, want)
		}
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", path, err)
		}
	}
	enough := errors.New("enough")
	if err := c.Events(t.Context(), "/whole", nil, func(Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a reader that has enough: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if err := c.Events(ctx, "/whole", nil, func(Event) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("out of time: %v", err)
	}
}
