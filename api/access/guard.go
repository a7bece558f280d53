package access

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// contentPolicy lets the page load what the appliance itself serves, and
// nothing else from anywhere (Content Security Policy Level 3).
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// headers are those of every answer.
var headers = map[string]string{
	"Cache-Control":                "no-store",
	"Content-Security-Policy":      contentPolicy,
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// Handler lets those requests through to next that may pass. Refused ones are
// answered with a problem detail (RFC 9457).
func (a *Access) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		reached(r)
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		answer := &answer{ResponseWriter: w, status: http.StatusOK}
		defer func() { a.observe(route(r), answer.status, time.Since(began)) }() // also of an answer that is cut off
		if denied := a.check(r); denied != nil {
			a.deny(answer, denied)
			return
		}
		a.serve(answer, r, next)
	})
}

// route is the pattern that a request met, without its method.
func route(r *http.Request) string {
	if _, path, found := strings.Cut(r.Pattern, " "); found {
		return path
	}
	return r.Pattern
}

// check returns why a request may not pass, nil where it may.
func (a *Access) check(r *http.Request) *denial {
	if r.ContentLength < 0 || r.ContentLength > maxBodyOctets {
		return &denial{bodyTooLarge, http.StatusRequestEntityTooLarge, "a question is asked in path and query; send no body"}
	}
	if climbs(r.URL.Path) {
		return &denial{pathTraversal, http.StatusBadRequest, "a path has no '..' and no octet 0"}
	}
	if denied := checkPage(r); denied != nil {
		return denied
	}
	if a.tokens == nil {
		return checkHost(r, a.config.Hosts)
	}
	if a.config.Public(r) {
		return nil
	}
	return a.tokens.check(r)
}

// climbs tells whether a path, decoded, is written to lead out of what it seems
// to be in. No client writes one by accident: browsers and curl resolve dots.
func climbs(path string) bool {
	if strings.ContainsRune(path, 0) {
		return true
	}
	for part := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == ".." {
			return true
		}
	}
	return false
}

func (a *Access) deny(w *answer, denied *denial) {
	a.refusals[denied.reason].Add(1)
	if denied.status == http.StatusUnauthorized {
		challenge := `Bearer realm="finwait"`
		if denied.reason == tokenWrong {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if denied.reason == bodyTooLarge {
		w.Header().Set("Connection", "close") // what was sent is not read to its end
	}
	denied.write(w)
}

func (a *Access) serve(w *answer, r *http.Request, next http.Handler) {
	if r.ContentLength == 0 {
		// The request is here. Its time limit would end a long answer, since
		// the server goes on reading, to see whether the client is gone. Other
		// writers than those of net/http, as in tests, have no such limit.
		if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return // the client is gone already
		}
	}
	next.ServeHTTP(w, r)
	if why, refused := ofStatus(w.status); refused {
		a.refusals[why].Add(1)
	}
}

// answer notes the status of an answer.
type answer struct {
	http.ResponseWriter
	status int
	begun  bool
}

// WriteHeader implements http.ResponseWriter.
func (w *answer) WriteHeader(status int) {
	if !w.begun && status >= http.StatusOK {
		w.status, w.begun = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *answer) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Flush implements http.Flusher, which streams look for.
func (w *answer) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
