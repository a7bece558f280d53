package access

import (
	"net"
	"strings"
	"testing"
)

// No page but the appliance's own may make a browser ask.
func TestPages(t *testing.T) {
	s := newSite(t, Config{Hosts: []string{"Finwait.Example.org"}})
	_, port, _ := net.SplitHostPort(s.address)
	for _, c := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"curl", nil, 200},
		{"localhost", []string{"Host: localhost:" + port}, 200},
		{"below localhost", []string{"Host: finwait.localhost"}, 200},
		{"IPv6", []string{"Host: [::1]:" + port}, 200},
		{"an allowed name", []string{"Host: finwait.example.org."}, 200},
		{"rebinding", []string{"Host: evil.example.com:" + port}, 421},
		{"rebinding below", []string{"Host: localhost.evil.example.com"}, 421},
		{"own page", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"}, 200},
		{"typed in", []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"}, 200},
		{"a link", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200},
		{"a frame", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403},
		{"fetch elsewhere", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"}, 403},
		{"image elsewhere", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403},
		{"another port", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"}, 403},
		{"older browser", []string{"Origin: http://" + s.address}, 200},
		{"older browser elsewhere", []string{"Origin: http://evil.example.com"}, 403},
		{"opaque origin", []string{"Origin: null"}, 403},
	} {
		answer, body := s.ask("/question", c.headers...)
		if answer.StatusCode != c.status {
			t.Errorf("%s: %s", c.name, answer.Status)
		}
		if c.status != 200 {
			checkProblem(t, answer, body)
		}
		for name := range answer.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: a foreign page is let in by %s", c.name, name)
			}
		}
		if csp := answer.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: policy %q", c.name, csp)
		}
	}
	s.awaitRefused(foreignHost, 2)
	s.awaitRefused(foreignPage, 6)
}
