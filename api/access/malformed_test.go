package access

import (
	"strings"
	"testing"
)

// What net/http answers by itself is counted too, by what it was.
func TestMalformed(t *testing.T) {
	s := newSite(t, Config{})
	cases := []struct {
		name, text string
		status     int
		reason     reason
	}{
		{"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, malformedRequest},
		{"binary", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, malformedRequest},
		{"no Host", "GET /question HTTP/1.1\r\n\r\n", 400, malformedRequest},
		{"two Hosts", "GET /question HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, malformedRequest},
		{"two lengths", "GET /question HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, malformedRequest},
		{"version", "GET /question HTTP/3.0\r\nHost: localhost\r\n\r\n", 505, malformedRequest},
		{"long path", "GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\n", 431, headerTooLarge},
		{"large header", "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10), 431, headerTooLarge},
		{"many headers", "GET / HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("X: y\r\n", 10000), 431, headerTooLarge},
		{"large body", "GET /question HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n", 413, bodyTooLarge},
		{"endless body", "GET /question HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 413, bodyTooLarge},
		{"up and away", request("/../../../etc/passwd"), 400, pathTraversal},
		{"up and away, encoded", request("/%2e%2e/%2e%2e/etc/passwd"), 400, pathTraversal},
		{"up and away, slashes encoded", request("/..%2f..%2fetc%2fpasswd"), 400, pathTraversal},
		{"backslashes", request(`/..\..\etc`), 400, pathTraversal},
		{"end of a name", request("/question%00.html"), 400, pathTraversal},
		{"nothing there", request("/etc/passwd"), 404, notFound},
		{"no method of ours", "BREW /question HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, methodNotAllowed},
		{"wrong", request("/wrong"), 400, badRequest},
		{"busy", request("/busy"), 503, tooBusy},
	}
	for _, c := range cases {
		before := s.refused(c.reason)
		conn := s.dial(c.text)
		if got := status(conn); got != c.status {
			t.Errorf("%s: status %d, want %d", c.name, got, c.status)
		}
		_ = conn.Close()
		s.awaitRefused(c.reason, before+1)
	}
	var sum uint64
	for _, r := range s.Refusals() {
		sum += r.Count
	}
	if sum != uint64(len(cases)) {
		t.Errorf("%d requests were refused %d times: %v", len(cases), sum, s.Refusals())
	}
}

// Clients that give up by themselves are not refused.
func TestClientsThatLeave(t *testing.T) {
	s := newSite(t, Config{})
	for _, text := range []string{"", "GET /ques", request("/question")} {
		_ = s.dial(text).Close()
	}
	eventually(t, "the end of their connections", func() bool { now, _ := s.Connections(); return now == 0 })
	for _, r := range s.Refusals() {
		if r.Count != 0 {
			t.Errorf("refused: %v", r)
		}
	}
}
