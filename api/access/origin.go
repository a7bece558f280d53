package access

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// checkHost refuses a request to a name that somebody else may have pointed at
// this machine: the pages of that name could read the answer (DNS rebinding). An
// address, localhost (RFC 6761 section 6.3) and the names that were allowed are
// nobody else's; what sends no Host is no browser.
func checkHost(r *http.Request, allowed []string) *denial {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(allowed, host) {
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	return &denial{foreignHost, http.StatusMisdirectedRequest,
		fmt.Sprintf("the host %q is not known to be this machine; start finwait with --allow-host %s, or ask by address", host, host)}
}

// checkPage refuses what a page of another origin asked for, by what browsers
// say of it (Fetch Metadata, or the Origin of older ones). Following a link to
// the page or to an answer is no such thing: the other page does not see it.
func checkPage(r *http.Request) *denial {
	foreign := &denial{foreignPage, http.StatusForbidden, "a page of another site may not ask this appliance"}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "":
	case "same-origin", "none":
		return nil
	default:
		if r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
			return nil
		}
		return foreign
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && u.Host == r.Host {
		return nil
	}
	return foreign
}
